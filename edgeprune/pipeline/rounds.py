"""One round: score, allocate, cut, re-estimate BatchNorm, fine-tune."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np

from edgeprune.cost.counts import total_macs, total_params
from edgeprune.cost.model import Corrections
from edgeprune.data.split import Batch
from edgeprune.errors import ValidationError
from edgeprune.importance.table import criterion
from edgeprune.model_file import load_model, save_model
from edgeprune.pipeline.allocation import SENSITIVITY, allocate
from edgeprune.pipeline.analysis import Analysis, analyse
from edgeprune.pipeline.artifact import keras_metric
from edgeprune.pipeline.channels import SCORING_SAMPLES
from edgeprune.pipeline.costs import plan_costs
from edgeprune.pipeline.job import Job, model_digest
from edgeprune.pipeline.losses import mean_loss, scalar_loss
from edgeprune.pipeline.samples import drawn_batches
from edgeprune.pipeline.sensitivity import sensitivity_map
from edgeprune.plan.limits import Limits
from edgeprune.plan.sensitivity import SensitivityMap
from edgeprune.progress import say
from edgeprune.recover.batchnorm import reestimate_statistics
from edgeprune.recover.checkpoint import Progress
from edgeprune.recover.distillation import Distillation
from edgeprune.recover.finetune import Pruning, Recipe, finetune

# Samples for BatchNorm statistics: enough for stable means, bounded time.
STATISTICS_SAMPLES = 12800
# Validation samples that judge each of some hundred probes of the sensitivity map.
_SENSITIVITY_SAMPLES = 1024


def prune_round(
    job: Job,
    model: Any,
    limits: Limits,
    allocation: str,
    mode: str,
    corrections: Corrections,
    title: str,
    seed: int,
    folder: Path,
) -> dict[str, Any]:
    """Cut `model` until the limits are met by prediction, then fine-tune; the result is in folder/model.keras.

    Every random choice comes from `seed`. A round that was stopped goes on after its last finished epoch.

    Returns:
        what the report needs of the round: costs, metrics, epochs.
    """
    import keras

    keras.utils.set_random_seed(seed)
    cut = folder / "cut.keras"
    if not cut.exists():
        analysis = analyse(model)
        scores = group_scores(job, analysis, seed)
        costs = plan_costs(analysis.network, job.target, mode, corrections)
        measured = sensitivity(job, analysis, scores) if allocation == SENSITIVITY else None
        kept = allocate(allocation, scores, costs, limits, job.target.channel_multiple, measured).kept
        smaller = analysis.shrink(scores, kept)
        refresh_statistics(job, smaller, STATISTICS_SAMPLES)
        save_model(smaller, cut)
    model = load_stage(job, cut)
    return train_and_record(job, model, mode, corrections, title, seed, folder)


def train_and_record(
    job: Job,
    model: Any,
    mode: str,
    corrections: Corrections,
    title: str,
    seed: int,
    folder: Path,
    epochs: int | None = None,
    *,
    after: str = "the cut",
) -> dict[str, Any]:
    """Fine-tune `model`, for the epochs of the options unless given, and write folder/model.keras.

    after: what messages say was done to the model before.
    """
    recipe = Recipe(job.options.epochs if epochs is None else epochs, job.options.batch_size, seed)
    done = train(job, model, recipe, title, folder / "training.npz")
    save_model(model, folder / "model.keras")
    network = analyse(model).network
    costs = plan_costs(network, job.target, mode, corrections).exact(network.full)
    finite = [value for value in done.metrics if math.isfinite(value)]
    if not finite:
        raise ValidationError(
            f"{title}: {job.task.metric.name} is {done.metrics[-1]} after {after} and after training; give a larger "
            "budget, more --rounds or a lower learning_rate"
        )
    better, worse = (max, min) if job.task.metric.higher_is_better else (min, max)
    row = {
        "macs": total_macs(network, network.full),
        "params": total_params(network, network.full),
        "costs": costs,
        # a cut that leaves no number at all counts as the worst that was seen
        "metric_after_surgery": done.metrics[0] if math.isfinite(done.metrics[0]) else worse(finite),
        "metric_after_training": better(finite),
        "epochs": done.epochs_done,
    }
    say(
        f"{title}: predicted {costs['latency_ms']:.3g} ms, {job.task.metric.name} "
        f"{row['metric_after_surgery']:.4f} after {after}, {row['metric_after_training']:.4f} after training"
    )
    return row


def train(job: Job, model: Any, recipe: Recipe, title: str, state: Path, pruning: Pruning | None = None) -> Progress:
    """Fine-tune `model` in place on the build's data and task; see `finetune`."""
    return finetune(
        model,
        job.data.train,
        recipe,
        job.task,
        evaluate=lambda candidate: keras_metric(job, candidate),
        state=state,
        title=title,
        distillation=distillation(job),
        pruning=pruning,
    )


def distillation(job: Job) -> Distillation | None:
    """What the dense model teaches the pruned one while it is fine-tuned; None where the options say nothing."""
    options = job.options
    if options.distillation_weight == 0:
        return None
    return Distillation(job.model, options.distillation_temperature, options.distillation_weight)


def group_scores(job: Job, analysis: Analysis, seed: int) -> tuple[np.ndarray, ...]:
    """Importance of every unit by the build's criterion, on training data where it needs data."""
    name = job.options.criterion
    options: dict[str, Any] = {"seed": seed}
    if criterion(name).needs_data:
        batches, count = drawn_batches(job.data.train, job.options.batch_size, SCORING_SAMPLES, seed)
        loss = scalar_loss(analysis.model, job.task)
        options |= {"model": analysis.model, "loss": loss, "batches": batches, "n_batches": count}
    return analysis.scores(name, aggregate=job.options.aggregate, normalize=job.options.normalize, **options)


def refresh_statistics(job: Job, model: Any, samples: int) -> None:
    """Re-estimate BatchNorm from about `samples` training samples."""
    batches, count = drawn_batches(job.data.train, job.options.batch_size, samples, job.options.seed)
    reestimate_statistics(model, batches, count)


def sensitivity(job: Job, analysis: Analysis, scores: tuple[np.ndarray, ...]) -> SensitivityMap:
    """The sensitivity map of the model on about 1,024 validation samples, measured once per model and data."""
    batches = judging_batches(job)
    loss = mean_loss(analysis.model, job.task)
    ranking = hashlib.sha256(b"".join(own.tobytes() for own in scores)).hexdigest()
    full = repr(loss(batches))  # stands for the loss function, whatever object it is
    key = " ".join((model_digest(analysis.model), job.data.validation.fingerprint(), ranking, full))
    return sensitivity_map(analysis, scores, job.target.channel_multiple, lambda: loss(batches), key)


def judging_batches(job: Job) -> list[Batch]:
    """The validation samples that judge probes and allocations."""
    drawn, _ = drawn_batches(job.data.validation, job.options.batch_size, _SENSITIVITY_SAMPLES, job.options.seed)
    return list(drawn)


def load_stage(job: Job, path: Path) -> Any:
    """A model that an earlier step of this build wrote; a Lambda in it is the user's own, allowed at the start."""
    return load_model(path, allow_lambda=job.allow_lambda)
