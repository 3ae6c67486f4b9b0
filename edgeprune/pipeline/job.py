"""What one build works on: model, data, task, target, budget, options and the folder of its stages."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from edgeprune.data.load import LoadedData
from edgeprune.data.signature import Signature
from edgeprune.data.split import Split
from edgeprune.data.structure import in_port_order
from edgeprune.export.modes import ModelFacts
from edgeprune.pipeline.options import Options
from edgeprune.pipeline.stages import STAGES, Stages
from edgeprune.target import Budget, Target
from edgeprune.task.options import TaskOptions
from edgeprune.task.resolve import Task


@dataclass(frozen=True, eq=False)
class Job:
    """One build for one target."""

    model: Any
    signature: Signature
    data: LoadedData
    task: Task
    target: Target
    budget: Budget
    options: Options
    folder: Path
    stages: Stages
    facts: ModelFacts
    allow_lambda: bool = False
    default_budget: bool = False
    training: TaskOptions = field(default_factory=TaskOptions)

    @property
    def dense_file(self) -> Path:
        """The given model as a dense float32 file, which everything is compared with."""
        return self.folder / STAGES / "baseline" / "dense.tflite"

    def validation_batches(self) -> Iterator[tuple[list[np.ndarray], Any]]:
        """Validation batches with one array per model input, in order."""
        for x, y in self.data.validation.batches(self.options.batch_size):
            yield list(in_port_order(x, self.signature.inputs, "x")), y

    def validation_count(self) -> int | None:
        """Number of validation batches where known."""
        return batch_count(self.data.validation, self.options.batch_size)

    def representative(self) -> Sequence[list[np.ndarray]]:
        """Calibration samples from the training data, balanced by class."""
        return [self.data.train.sample(self.options.calibration, self.options.seed)]


def batch_count(split: Split, batch_size: int) -> int | None:
    """Number of batches where the size is known."""
    return None if split.size is None else -(-split.size // batch_size)


def identity(
    model: Any, data: LoadedData, task: Task, training: TaskOptions, target: Target, budget: Budget, options: Options
) -> dict[str, Any]:
    """What the result of a build depends on; a rerun with the same identity continues."""
    parts = {
        "model": model_digest(model),
        "data": [data.train.fingerprint(), data.validation.fingerprint()],
        "metric": [task.metric.name, task.metric.higher_is_better],
        "training": training_text(training),
        "target": asdict(target),
        "budget": asdict(budget),
        "options": asdict(options),
        "versions": versions(target),
    }
    as_stored: dict[str, Any] = json.loads(json.dumps(parts))
    return as_stored


def training_text(training: TaskOptions) -> dict[str, str]:
    """The user's training settings as text: values as they are, Keras objects by their config, functions by name."""

    def text(value: Any) -> str:
        if hasattr(value, "get_config"):
            return f"{type(value).__name__} {json.dumps(value.get_config(), sort_keys=True, default=str)}"
        if isinstance(value, (list, tuple)):
            return str([text(item) for item in value])
        if isinstance(value, dict):
            return str({key: text(item) for key, item in value.items()})
        return str(getattr(value, "__qualname__", value))

    return {name: text(value) for name, value in vars(training).items() if value is not None}


def model_digest(model: Any) -> str:
    """sha256 over the architecture, the compiled loss and optimizer, and all weights."""
    digest = hashlib.sha256(model.to_json().encode())
    for variable in model.weights:  # without the states of random layers, which change at every load
        digest.update(np.ascontiguousarray(np.asarray(variable)).tobytes())
    return digest.hexdigest()


def versions(target: Target) -> dict[str, str]:
    """Versions of what made the result, for reproduction."""
    packages = ("edgeprune", "tensorflow", "keras", "ai-edge-litert", "numpy")
    found = {package: version(package) for package in packages}
    return {**found, f"target runtime ({target.runtime.package})": target.runtime.version}
