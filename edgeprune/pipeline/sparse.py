"""The sparse stage: ramp the sparsity up while the model trains, then fine-tune with the zeros frozen.

Both parts go on after their last finished epoch when a build was stopped: zeros in the stored weights say what is
pruned.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgeprune.cost.model import Corrections
from edgeprune.model_file import save_model
from edgeprune.pipeline.job import Job
from edgeprune.pipeline.kernels import ranking, sparse_weights, stored_kernels, zeros_of
from edgeprune.pipeline.rounds import STATISTICS_SAMPLES, load_stage, refresh_statistics, train, train_and_record
from edgeprune.progress import say
from edgeprune.recover.finetune import Recipe
from edgeprune.sparsity.criteria.base import Evidence
from edgeprune.sparsity.criteria.lamp import Lamp
from edgeprune.sparsity.freeze import freeze_sparsity
from edgeprune.sparsity.pruner import Pruner
from edgeprune.sparsity.schedules import PolynomialSchedule, TrainingLength

# The ramp is cut into this many updates, however long the training is.
_UPDATES = 100


class RampPruning:
    """A `finetune.Pruning` along a cubic ramp (Zhu & Gupta 2017), from `initial` to the sparsity of a stage."""

    def __init__(self, model: Any, pattern: str, sparsity: float, initial: float = 0.0) -> None:
        self.model = model
        weights = sparse_weights(model)
        self._ranking = ranking(weights, pattern)
        self._scorer = Lamp().bind(Evidence(model, weights))
        self._final = sparsity
        schedule = PolynomialSchedule(sparsity, begin=0.0, end=1.0, initial_sparsity=min(initial, sparsity))
        self._ramp = schedule.bind(TrainingLength(_UPDATES, None))
        self.begin_epoch()

    def begin_epoch(self) -> None:
        """Take the zeros there are for pruned, so that a continued run starts like an undisturbed one."""
        self._pruner = Pruner(self.model, self._ranking, self._scorer, regrows=False)
        self._updated = -1

    def before_step(self, part: float) -> None:
        """Prune as far as the ramp is. part: of the training, in [0, 1)."""
        update = int(part * _UPDATES)
        if update != self._updated:
            self._updated = update
            self._prune(self._ramp.sparsity(update))

    def finish(self) -> float:
        """Prune to the final sparsity; the share of zeros in all pruned kernels."""
        self._prune(self._final)
        return self._pruner.sparsity

    def _prune(self, sparsity: float) -> None:
        self._pruner.prune(sparsity / self._final if self._final else 0.0, sparsity)


def sparse_round(
    job: Job,
    model: Any,
    sparsity: float,
    initial: float,
    mode: str,
    corrections: Corrections,
    title: str,
    seed: int,
    folder: Path,
) -> dict[str, Any]:
    """Make `model` sparse and fine-tune it; the result is in folder/model.keras.

    Args:
        sparsity: share of zeros in all kernels at the end; an N:M pattern fixes it. initial: what it is now.

    Returns:
        what the report needs of the round, and the sparsity that was reached.
    """
    import keras

    pattern = job.options.pattern
    assert pattern is not None
    keras.utils.set_random_seed(seed)
    start, pruned = folder / "start.keras", folder / "pruned.keras"
    if not pruned.exists():
        if not start.exists():
            save_model(model, start)  # what was given is not trained on
        model = load_stage(job, start)
        ramp = RampPruning(model, pattern, sparsity, initial)
        recipe = Recipe(job.options.epochs, job.options.batch_size, seed, decay=False)
        train(job, model, recipe, f"{title}, pruning", folder / "ramp.npz", ramp)
        ramp.begin_epoch()
        reached = ramp.finish()
        say(f"{title}: {reached:.1%} of the weights in sparse kernels are zero")
        refresh_statistics(job, model, STATISTICS_SAMPLES)
        save_model(model, pruned)
    row = train_frozen(job, load_stage(job, pruned), mode, corrections, title, seed, folder)
    return row | {"epochs": row["epochs"] + job.options.epochs}


def train_frozen(
    job: Job,
    model: Any,
    mode: str,
    corrections: Corrections,
    title: str,
    seed: int,
    folder: Path,
    epochs: int | None = None,
) -> dict[str, Any]:
    """Fine-tune a sparse model in place; its zeros stay. The result is in folder/model.keras.

    Returns:
        what `train_and_record` does, and the share of zeros in the sparse kernels.
    """
    if zeros_of(stored_kernels(model).values()).zeros:
        freeze_sparsity(model)
    row = train_and_record(job, model, mode, corrections, title, seed, folder, epochs, after="pruning")
    return row | {"sparsity": zeros_of(stored_kernels(model).values()).share}
