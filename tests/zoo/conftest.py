"""The zoo holds the same oracle as tests/graph and lends its modules."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "graph"))
