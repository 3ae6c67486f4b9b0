"""What `edgeprune` itself answers, before any command runs."""

from __future__ import annotations

import pytest

from edgeprune.cli.main import main

pytestmark = pytest.mark.unit


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    out, err = capsys.readouterr()
    assert (end.value.code, out) == (2, "")
    return err


def test_a_mistyped_command_names_the_nearest(capsys):
    assert refused(capsys, "biuld") == 'edgeprune: unknown command "biuld"; did you mean "build"?\n'
