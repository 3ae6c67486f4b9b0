"""Choosing how the budget is spent over the layers: every candidate cuts the model half of the way to the limits and is
validated without training. Half of the way, so that none has collapsed yet; untrained, so that it takes seconds."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeprune.cost.model import Corrections
from edgeprune.errors import InputError
from edgeprune.graph.blocks import Block, drop_blocks, find_blocks
from edgeprune.pipeline.allocation import ALLOCATIONS, DEPTH, SENSITIVITY, allocate
from edgeprune.pipeline.analysis import Analysis, analyse
from edgeprune.pipeline.artifact import keras_metric
from edgeprune.pipeline.costs import plan_costs
from edgeprune.pipeline.job import Job
from edgeprune.pipeline.losses import mean_loss
from edgeprune.pipeline.rounds import group_scores, judging_batches, refresh_statistics, sensitivity
from edgeprune.plan.limits import Limits
from edgeprune.progress import progress, say

# Training samples for the BatchNorm statistics of each candidate.
_TRIAL_SAMPLES = 1280
# How many blocks a depth candidate drops; channels do the rest.
_DEPTHS = (1, 2, 4)


@dataclass(frozen=True, eq=False)
class Trials:
    """What all candidates share: the dense model, the mode and corrections of its costs, the limits of the trial."""

    job: Job
    analysis: Analysis
    mode: str
    corrections: Corrections
    limits: Limits

    def channels(self, name: str, scores: tuple[np.ndarray, ...]) -> dict[str, Any]:
        """One candidate: its name, the metric after its cut, the blocks it drops.

        The metric is None when the cut misses the limits or leaves a model that answers no numbers.
        """
        return {"allocation": name, "metric": self._metric(name, self.analysis, scores), "dropped": []}

    def _metric(self, name: str, analysis: Analysis, scores: tuple[np.ndarray, ...]) -> float | None:
        job = self.job
        costs = plan_costs(analysis.network, job.target, self.mode, self.corrections)
        measured = sensitivity(job, analysis, scores) if name == SENSITIVITY else None
        found = allocate(name, scores, costs, self.limits, job.target.channel_multiple, measured)
        if found.missed:
            return None
        smaller = analysis.shrink(scores, found.kept)
        refresh_statistics(job, smaller, _TRIAL_SAMPLES)
        metric = keras_metric(job, smaller)
        return metric if math.isfinite(metric) else None

    def depth(self) -> dict[str, Any]:
        """Drop the blocks that harm least per millisecond, then channels by knapsack; the best number of blocks."""
        job = self.job
        order = self._rated_blocks()
        rows = []
        for count in [number for number in _DEPTHS if number <= len(order)]:
            analysis = analyse(drop_blocks(self.analysis.model, self.analysis.trace, order[:count]))
            metric = self._metric("knapsack", analysis, group_scores(job, analysis, job.options.seed))
            names = [block.name for block in order[:count]]
            rows.append({"allocation": DEPTH, "metric": metric, "dropped": names})
        return ranked(rows, job.task.metric.higher_is_better)[0]

    def _rated_blocks(self) -> list[Block]:
        job, dense = self.job, self.analysis
        blocks = find_blocks(dense.model)
        batches = judging_batches(job)
        harm_of_nothing = mean_loss(dense.model, job.task)(batches)
        latency = plan_costs(dense.network, job.target, self.mode).model.latency_ms(dense.network.full)
        rates = []
        with progress("harm of dropping each block", len(blocks)) as advance:
            for block in blocks:
                smaller = drop_blocks(dense.model, dense.trace, [block])
                network = analyse(smaller).network
                saved = float(latency - plan_costs(network, job.target, self.mode).model.latency_ms(network.full))
                harm = mean_loss(smaller, job.task)(batches) - harm_of_nothing
                rates.append(max(float(np.nan_to_num(harm, nan=1e9, posinf=1e9)), 0.0) / max(saved, 1e-9))
                advance(1, block.name)
        return [blocks[number] for number in np.argsort(rates, kind="stable")]


def check_candidate(name: str, model: Any) -> None:
    """Refuse a depth cut of a model without blocks.

    Raises:
        InputError: says what a block is.
    """
    if name == DEPTH and not find_blocks(model):
        raise InputError(
            'the allocation "depth" drops residual blocks y = x + f(x), and this model has none; choose another'
        )


def contest(trials: Trials) -> list[dict[str, Any]]:
    """All candidates that the model allows, the best first."""
    job = trials.job
    names = [*ALLOCATIONS, SENSITIVITY]
    if find_blocks(job.model):
        names.append(DEPTH)
    say("comparing ways to spend the budget, by a trial cut without training")
    scores = group_scores(job, trials.analysis, job.options.seed)
    rows = []
    for name in names:
        rows.append(trials.depth() if name == DEPTH else trials.channels(name, scores))
        metric = rows[-1]["metric"]
        say(f"  {name}: " + ("misses the limits" if metric is None else f"{job.task.metric.name} {metric:.4f}"))
    return ranked(rows, job.task.metric.higher_is_better)


def ranked(rows: list[dict[str, Any]], higher_is_better: bool) -> list[dict[str, Any]]:
    """Best first; rows that miss the limits last. Of equals the later comes first: it knows more about costs."""
    sign = 1.0 if higher_is_better else -1.0

    def key(number: int) -> tuple[bool, float, int]:
        metric = rows[number]["metric"]
        return metric is not None, sign * (metric or 0.0), number

    return [rows[number] for number in sorted(range(len(rows)), key=key, reverse=True)]


def chosen(stage: Callable[..., dict[str, Any]], trials: Trials) -> list[dict[str, Any]]:
    """The rows of the contest, or the single one that was asked for; `stage` records them."""
    asked = trials.job.options.allocation
    if asked not in ("auto", DEPTH):
        return [{"allocation": asked, "metric": None, "dropped": []}]

    def work(folder: Any) -> dict[str, Any]:
        import keras

        keras.utils.set_random_seed(trials.job.options.seed)
        return {"trials": contest(trials) if asked == "auto" else [trials.depth()]}

    rows: list[dict[str, Any]] = stage("allocation", work)["trials"]
    return rows
