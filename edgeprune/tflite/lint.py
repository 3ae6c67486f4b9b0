"""Everything that can be said of a file on a board before it is run there, as one record."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgeprune.errors import InputError
from edgeprune.target import Target
from edgeprune.tflite.compat import Trap, missing_operations, traps
from edgeprune.tflite.flatbuffer import read_model
from edgeprune.tflite.inspect import min_runtime_version
from edgeprune.tflite.model import TfliteModel, shape_of, text
from edgeprune.tflite.sparse_inference.predict import predict
from edgeprune.tflite.sparse_inference.records import Prediction


@dataclass(frozen=True)
class LintResult:
    """A file's verdict on one board.

    sparse_inference: whether sparse kernels will run. traps: why the file fails there or gains nothing. passed: no trap
    makes it fail. min_runtime_version: the TensorFlow version the converter noted. missing_operations: what the board's
    runtime lacks. notes: parts of the file that were not looked at.
    """

    passed: bool
    sparse_inference: Prediction
    traps: tuple[Trap, ...]
    min_runtime_version: str | None
    missing_operations: tuple[str, ...]
    notes: tuple[str, ...]


def lint(path: Path, target: Target) -> LintResult:
    """Check a .tflite file for a board.

    Raises:
        InputError: the file is missing, not TFLite, or damaged.
    """
    if path.suffix in (".keras", ".h5"):
        raise InputError(
            f"lint reads .tflite files, received {path.name}; convert it first: edgeprune build {path.name}"
        )
    return lint_model(read_model(path), target)


def lint_model(model: TfliteModel, target: Target) -> LintResult:
    """Check a file that was already read."""
    runtime = target.runtime
    prediction = predict(model, runtime.package, runtime.version, target.isa)
    found = traps(model, runtime.package, runtime.version, target.isa, prediction)
    return LintResult(
        passed=all(trap.severity != "fails" for trap in found),
        sparse_inference=prediction,
        traps=found,
        min_runtime_version=min_runtime_version(model),
        missing_operations=missing_operations(model, runtime.package, runtime.version),
        notes=_notes(model),
    )


def _notes(model: TfliteModel) -> tuple[str, ...]:
    notes = []
    others = [text(graph.name) or "(no name)" for graph in model.tree.subgraphs[1:]]
    if others:
        notes.append(
            f"sparse kernels were looked for in the first of {len(others) + 1} graphs; not in {', '.join(others)}"
        )
    unknown = sum(-1 in shape_of(tensor) for tensor in model.main.tensors)
    if unknown:
        notes.append(f"{unknown} tensors have a size that is known only at run time; 1 was assumed")
    return tuple(notes)
