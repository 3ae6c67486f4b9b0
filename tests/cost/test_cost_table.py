"""Cost tables on disk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgeprune.cost.cost_table import CostTable, Entry, read_table, write_table
from edgeprune.cost.one_op import LayerShape
from edgeprune.errors import InputError

pytestmark = pytest.mark.unit

LAYER = LayerShape("CONV_2D", 7, 7, 8, 16, (3, 3), (2, 2))
TABLE = CostTable("local", "ai-edge-litert 2.3.0", "2026-01-02", "ms", 2, (Entry(LAYER, "int8", 1.5, (1.0, 1.5, 9.0)),))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_table(TABLE, tmp_path / "table.json")
    assert read_table(tmp_path / "table.json") == TABLE
    assert json.loads((tmp_path / "table.json").read_text())["version"] == 1


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"version": 2}, "version 2, expected 1"),
        ({"entries": [{}]}, "not a whole cost table"),
        ({"entries": [{"layer": {"op": "X"}}]}, "not a whole cost table"),
        ({"threads": None}, "not a whole cost table"),
    ],
)
def test_tables_that_are_wrong(change: dict[str, object], problem: str, tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    write_table(TABLE, path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InputError, match=problem):
        read_table(path)


@pytest.mark.parametrize("text", ["", "[]", "{", "\x00"])
def test_files_that_are_no_table(text: str, tmp_path: Path) -> None:
    (tmp_path / "table.json").write_text(text)
    with pytest.raises(InputError, match="cost table"):
        read_table(tmp_path / "table.json")
