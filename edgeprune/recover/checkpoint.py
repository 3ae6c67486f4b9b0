"""The state of a fine-tuning run in one file, so that an interrupted run goes on as if nothing had happened."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeprune.atomic import replacing


@dataclass(frozen=True)
class Progress:
    """Where a run is. `metrics` has the validation metric before training and after each epoch."""

    epochs_done: int
    best_epoch: int
    metrics: tuple[float, ...]


def save(path: Path, progress: Progress, variables: list[Any], best: list[np.ndarray]) -> None:
    """Write variables (model and optimizer, in order) and the best model weights so far, atomically."""
    arrays = {f"now_{i}": np.asarray(variable) for i, variable in enumerate(variables)}
    arrays |= {f"best_{i}": value for i, value in enumerate(best)}
    with replacing(path) as temporary:
        np.savez(temporary, progress=np.array(json.dumps(asdict(progress))), **arrays)


def restore(path: Path, variables: list[Any], n_best: int) -> tuple[Progress, list[np.ndarray]]:
    """Read a state back into `variables`; returns the progress and the best weights."""
    with np.load(path, allow_pickle=False) as stored:
        fields = json.loads(str(stored["progress"]))
        for i, variable in enumerate(variables):
            variable.assign(stored[f"now_{i}"])
        best = [stored[f"best_{i}"] for i in range(n_best)]
    return Progress(fields["epochs_done"], fields["best_epoch"], tuple(fields["metrics"])), best
