"""One TFLite file as the pipeline sees it: converted, sized, checked for traps and judged on the validation data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from edgeprune.atomic import write_bytes
from edgeprune.cost.file_latency import predict_file
from edgeprune.errors import ValidationError
from edgeprune.export.convert import convert
from edgeprune.export.modes import ModelFacts, allowed_modes
from edgeprune.export.passes.apply import apply_passes
from edgeprune.pipeline.job import Job
from edgeprune.target import Target
from edgeprune.tflite.compat import Trap, traps
from edgeprune.tflite.flatbuffer import read_model
from edgeprune.tflite.inspect import TfliteSummary, inspect
from edgeprune.tflite.sparse_inference.predict import predict
from edgeprune.validate.metric import evaluate_keras, evaluate_tflite

# Verdicts of `tflite.sparse_inference` for which (part of) the model runs sparse kernels.
ENGAGED = ("sparse", "partly")


@dataclass(frozen=True)
class Sizes:
    """File size and peak RAM (activations as the runtime places them, plus loaded weights) of a TFLite file.

    passed_over: why the best form of it could not be shipped, "" where it is.
    """

    size_bytes: int
    ram_bytes: int
    passed_over: str = ""


class Ships(Protocol):
    """What decides on the form of a file: a build's Job is one."""

    @property
    def target(self) -> Target:
        """Where it will run."""
        ...

    @property
    def facts(self) -> ModelFacts:
        """What of the model decides on modes."""
        ...

    def representative(self) -> Sequence[list[np.ndarray]]:
        """Calibration samples."""
        ...


def write_tflite(ships: Ships, model: Any, mode: str, path: Path, *, sparse: bool = False) -> Sizes:
    """Convert `model` and write it; calibration samples are drawn where the mode needs them.

    sparse: zeros are left out of the file where that makes it smaller, and float models are laid out for the target's
    sparse kernels where that makes them run; outputs stay the same. A form that the target's runtime would compute
    wrongly, or not load, is passed over: then the stock layout, and at last every zero stored.

    Raises:
        InputError: TFLite can't hold the model.
        ValidationError: the artifact would fail on the target's runtime.
    """
    verdict = next(
        verdict for verdict in allowed_modes(ships.target, ships.facts, sparse=sparse) if verdict.mode == mode
    )
    runtime = ships.target.runtime
    failing: list[Trap] = []
    passed_over = ""
    for form, encoded in _forms(model, mode, sparse and verdict.allowed):
        content = convert(form, mode, ships.representative, per_channel_dense=verdict.per_channel_dense, sparse=encoded)
        write_bytes(path, content)
        found = traps(path, runtime.package, runtime.version, ships.target.isa)
        failing = [trap for trap in found if trap.severity == "fails"]
        if not failing and form is not model:
            sparse_kernels = sparse_inference(ships.target, path)
            if sparse_kernels["verdict"] not in ENGAGED:
                # the layout costs a little and would gain nothing here
                passed_over = sparse_kernels["reason"]
                continue
        if not failing:
            return replace(sizes_of(path), passed_over=passed_over)
        passed_over = passed_over or failing[0].reason
    raise ValidationError(
        f"the {mode} model would fail on {ships.target.title}: {failing[0].reason}; {failing[0].remedy}"
    )


def _forms(model: Any, mode: str, sparse: bool) -> Iterator[tuple[Any, bool]]:
    """A model as it may be exported, and whether zeros are left out; the best first."""
    if sparse and mode in ("none", "float16"):
        laid_out, _ = apply_passes(model, finetuned=False)
        yield laid_out, True
    if sparse:
        yield model, True
    yield model, False


def sparse_inference(target: Target, path: Path) -> dict[str, Any]:
    """Whether the target's runtime will run sparse kernels on a file: the verdict of the prediction, and what stops
    (the rest of) it."""
    runtime = target.runtime
    found = predict(read_model(path), runtime.package, runtime.version, target.isa)
    reason = found.reason
    stops = [cluster.stop for cluster in found.clusters if cluster.stop is not None]
    if not reason and stops:
        reason = f"{stops[0].name}: {stops[0].reason}" if stops[0].op is not None else stops[0].reason
    return {"verdict": found.verdict, "how_known": "predicted", "reason": reason}


def file_latency_ms(target: Target, path: Path) -> float:
    """Predicted milliseconds of one inference of a file; zeros count where the target's runtime skips them."""
    return predict_file(read_model(path), target).ms


def sizes_of(path: Path) -> Sizes:
    """Size and RAM of a TFLite file."""
    summary = inspect(path)
    return Sizes(summary.size_bytes, summary.peak_arena_bytes + _loaded_weight_bytes(summary))


def _loaded_weight_bytes(summary: TfliteSummary) -> int:
    """Weights as kernels read them: as they are stored, or unpacked at load (float16 to float32, sparse to dense)."""
    stored = sum(w.stored_bytes for w in summary.weights if w.dtype != "float16" and not w.is_sparse)
    return stored + summary.unpacked_weight_bytes


def tflite_metric(job: Job, path: Path) -> float:
    """The validation metric of a TFLite file, run as shipped."""
    names = [port.name for port in job.signature.inputs]
    return evaluate_tflite(
        path, job.validation_batches(), job.task.metric, input_names=names, batch_count=job.validation_count()
    )


def keras_metric(job: Job, model: Any) -> float:
    """The validation metric of a Keras model."""
    return evaluate_keras(model, job.validation_batches(), job.task.metric, batch_count=job.validation_count())
