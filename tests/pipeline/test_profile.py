"""Profiling on this computer, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from edgeprune.cli.main import main
from edgeprune.cost.cost_table import read_table, write_table
from edgeprune.cost.one_op import LayerShape, one_op_model
from edgeprune.errors import InputError
from edgeprune.pipeline.profile import profile
from edgeprune.target import load_target

pytestmark = pytest.mark.unit

CONV = LayerShape("CONV_2D", 4, 4, 16, 16)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.tflite"
    path.write_bytes(one_op_model(CONV, "none"))
    return path


def test_a_table_of_this_computer(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = model.with_name("table.json")
    main(["profile", str(model), "--target", "rpi4", "-o", str(output), "--json"])
    table = read_table(output)
    assert json.loads(capsys.readouterr().out)["entries"][0]["precision"] == "none"
    assert (table.device, table.unit, table.threads, table.failed) == ("local", "ms", 1, 0)
    counts = {(entry.layer.inputs, entry.layer.outputs) for entry in table.entries}
    assert counts == {(8, 8), (8, 16), (16, 8), (16, 16)}
    assert all(len(entry.samples) == 5 and entry.cost > 0 for entry in table.entries)


def test_what_is_known_is_not_measured_again(model: Path) -> None:
    """A marked number survives; the layer that was taken out is measured."""
    output = model.with_name("table.json")
    first = profile(model, load_target("rpi4"), "local", output)
    marked = replace(first.entries[0], cost=123.0)
    write_table(replace(first, entries=(marked, *first.entries[1:-1])), output)
    again = profile(model, load_target("rpi4"), "local", output, batch=1)
    assert again.entries[0] == marked
    assert {entry.key for entry in again.entries} == {entry.key for entry in first.entries}


def test_a_table_of_something_else_is_left_alone(model: Path) -> None:
    output = model.with_name("table.json")
    table = profile(model, load_target("rpi4"), "local", output)
    write_table(replace(table, device="emulator:rpi4", unit="instructions"), output)
    before = output.read_bytes()
    with pytest.raises(InputError, match="holds costs of emulator:rpi4 .* choose another file"):
        profile(model, load_target("rpi4"), "local", output)
    assert output.read_bytes() == before
