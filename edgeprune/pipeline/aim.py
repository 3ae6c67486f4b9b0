"""What one strategy of a build works towards: the mode, and limits with predictions corrected by real files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgeprune.pipeline.analysis import Analysis
from edgeprune.pipeline.costs import corrections_from
from edgeprune.pipeline.goal import Goal
from edgeprune.pipeline.job import Job
from edgeprune.pipeline.measure import running_costs
from edgeprune.pipeline.precision import choose_precision
from edgeprune.pipeline.sparse_kernels import check_engaged, float_mode, try_sparse_kernels
from edgeprune.plan.limits import Limits


@dataclass(frozen=True, eq=False)
class Aim:
    """A job with its goal.

    precision: what `choose_precision` returned. dense: costs and metric of the dense model in the goal's mode, by the
    names of `Limits`.
    """

    job: Job
    goal: Goal
    precision: dict[str, Any]
    dense: dict[str, Any]


def aim(job: Job, analysis: Analysis, baseline_metric: float, limits: Limits) -> Aim:
    """Choose the mode and correct the predictions.

    Raises:
        ValidationError: the strategy is "sparse", and the target would run no sparse kernels.
    """
    kernels = try_sparse_kernels(job, float_mode(job))
    if job.options.quantize != "int8":
        check_engaged(job, kernels.verdict, kernels.reason)
    precision = job.stages.run(
        "precision",
        lambda folder: choose_precision(job, analysis.network, baseline_metric, folder, limits, kernels),
    )
    mode = precision["mode"]
    name = f"dense.{mode}.tflite"
    timed = job.stages.run("dense-latency", lambda folder: running_costs(job, job.stages.path("precision", name)))
    dense = {key: precision[key] for key in ("size_bytes", "ram_bytes", "metric")} | {"latency_ms": timed["latency_ms"]}
    corrections = corrections_from(
        analysis.network, job.target, mode, dense["size_bytes"], dense["ram_bytes"], dense["latency_ms"]
    )
    goal = Goal(limits, mode, corrections, baseline_metric, job.budget.max_accuracy_drop, kernels)
    return Aim(job, goal, precision, dense)
