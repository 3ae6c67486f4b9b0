"""`python -m edgeprune`."""

from edgeprune.cli.main import main

main()
