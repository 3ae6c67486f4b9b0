"""The state of a fine-tuning run in one file, so that an interrupted run goes on as if nothing had happened."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeprune.atomic import replacing
from edgeprune.data.npz import read_npz
from edgeprune.errors import InputError


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
    """Read a state back into `variables`; returns the progress and the best weights.

    Raises:
        InputError: the file is damaged, or not of this model. `variables` are as before.
    """
    try:
        stored = read_npz(path)
        fields = json.loads(str(stored["progress"]))
        progress = Progress(fields["epochs_done"], fields["best_epoch"], tuple(fields["metrics"]))
        values = [stored[f"now_{i}"] for i in range(len(variables))]
        best = [stored[f"best_{i}"] for i in range(n_best)]
    except InputError as error:
        raise _damaged(path, str(error.__cause__ or error)) from error
    except KeyError as error:
        raise _damaged(path, f"it has no {error}") from error
    for value, variable in zip(values, variables, strict=True):
        if value.shape != tuple(variable.shape):
            raise _damaged(path, f"shape {value.shape} where {variable.path} has {tuple(variable.shape)}")
    for value, variable in zip(values, variables, strict=True):
        variable.assign(value)
    return progress, best


def _damaged(path: Path, reason: str) -> InputError:
    return InputError(
        f"the training state {path} is damaged ({reason}); it was written whole, so check the disk, then build again "
        "with --fresh"
    )
