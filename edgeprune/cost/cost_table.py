"""A measured cost table: what each layer of a model costs on a device, over a grid of channel counts."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from edgeprune.atomic import write_json
from edgeprune.cost.one_op import OPERATIONS, LayerShape
from edgeprune.errors import InputError

VERSION = 1
Unit = Literal["ms", "instructions"]
_PRECISIONS = ("none", "float16", "dynamic", "int8")


@dataclass(frozen=True)
class Entry:
    """One layer in one precision. samples: one per round, in the table's unit; counts have one. cost: their median."""

    layer: LayerShape
    precision: str
    cost: float
    samples: tuple[float, ...]

    @property
    def key(self) -> tuple[LayerShape, str]:
        """What was measured."""
        return self.layer, self.precision


@dataclass(frozen=True)
class CostTable:
    """unit "ms": of one inference on `threads` threads; "instructions": on one thread of an emulated board.

    date: of the last measurement, ISO 8601. failed: how many layers the runtime refused.
    """

    device: str
    runtime: str
    date: str
    unit: Unit
    threads: int
    entries: tuple[Entry, ...]
    failed: int = 0


def write_table(table: CostTable, path: Path) -> None:
    """Write a table atomically.

    Raises:
        InputError: it can't be written.
    """
    write_json(path, {"version": VERSION, **dataclasses.asdict(table)})


def read_table(path: Path) -> CostTable:
    """Read what `write_table` wrote.

    Raises:
        InputError: the file is missing, no cost table, or of another version.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not a cost table: {error}; make one with `edgeprune profile -o`") from None
    if not isinstance(document, dict) or document.get("version") != VERSION:
        found = document.get("version") if isinstance(document, dict) else None
        raise InputError(f"{path} is a cost table of version {found}, expected {VERSION}; profile the model again")
    try:
        return CostTable(
            device=str(document["device"]),
            runtime=str(document["runtime"]),
            date=str(document["date"]),
            unit="ms" if document["unit"] == "ms" else "instructions",
            threads=int(document["threads"]),
            entries=tuple(_entry(entry) for entry in document["entries"]),
            failed=int(document["failed"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is not a whole cost table: {error!r}; profile the model again") from None


def _entry(document: dict[str, Any]) -> Entry:
    given = document["layer"]
    layer = LayerShape(**{**given, "kernel": tuple(given["kernel"]), "stride": tuple(given["stride"])})
    if layer.op not in OPERATIONS or document["precision"] not in _PRECISIONS:
        raise ValueError(f"unknown operation {layer.op} or precision {document['precision']}")
    samples = tuple(float(sample) for sample in document["samples"])
    return Entry(layer, str(document["precision"]), float(document["cost"]), samples)
