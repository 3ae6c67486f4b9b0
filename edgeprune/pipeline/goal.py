"""What a build has to reach, and whether channels (and zeros, where the strategy makes some) can reach it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeprune.cost.model import Corrections
from edgeprune.cost.sparse_encoding import SparseKernel, saved_bytes, unpacked_bytes
from edgeprune.errors import BudgetError
from edgeprune.pipeline.allocation import allocate
from edgeprune.pipeline.analysis import Analysis
from edgeprune.pipeline.costs import plan_costs
from edgeprune.pipeline.job import Job
from edgeprune.pipeline.kernels import planned_kernels
from edgeprune.pipeline.options import Options
from edgeprune.pipeline.rows import cost_rows
from edgeprune.pipeline.sparse_kernels import NO_KERNELS, SparseKernels
from edgeprune.plan.limits import Limits


@dataclass(frozen=True)
class Goal:
    """What has to be reached: cost limits, the accuracy limit and the mode they are meant in.

    kernels: what zeros do for speed on the target.
    """

    limits: Limits
    mode: str
    corrections: Corrections
    baseline_metric: float
    max_drop: float | None
    kernels: SparseKernels = NO_KERNELS

    def over(self, export: Mapping[str, Any]) -> dict[str, float]:
        """How many times its limit each cost of an exported file is, of those that miss it."""
        return {name: export[name] / limit for name, limit in self.limits.items() if export[name] > limit}

    def kept(self, costs: Mapping[str, Any], lost: float) -> bool:
        """Whether all limits are kept, that of the accuracy too. lost: as `task.drop.drop` says it."""
        # one count of tolerance in the last digit of a float32 metric
        return not self.over(costs) and (self.max_drop is None or lost <= self.max_drop + 1e-7)


def with_zeros(
    costs: dict[str, float], kernels: Iterable[SparseKernel], mode: str, latency_share: float
) -> dict[str, float]:
    """Costs of a model by the names of `Limits`, once its zeros are not stored: a smaller file, and less time where the
    target runs sparse kernels.

    latency_share: what part of the time is left then.
    """
    listed = list(kernels)
    return costs | {
        "latency_ms": costs["latency_ms"] * latency_share,
        "size_bytes": costs["size_bytes"] - saved_bytes(listed, mode),
        "ram_bytes": costs["ram_bytes"] + unpacked_bytes(listed, mode),
    }


def shares_left(
    model: Any, options: Options, mode: str, costs: dict[str, float], kernels: SparseKernels
) -> dict[str, float]:
    """What part of each of a dense model's costs is left with the zeros that the strategy makes; 1 without any.

    costs: of the model in that mode, by the names of `Limits`. kernels: what the zeros do for speed.
    """
    if options.pattern is None:
        return dict.fromkeys(costs, 1.0)
    planned = planned_kernels(model, options.pattern, options.final_sparsity).values()
    after = with_zeros(costs, planned, mode, kernels.share(mode))
    return {name: after[name] / cost for name, cost in costs.items()}


def without_zeros(limits: Limits, shares: dict[str, float]) -> Limits:
    """The limits for removing channels, which zeros then take to `shares` of the cost."""
    return Limits(**{name: limit / shares[name] for name, limit in limits.items()})


def check_feasible(job: Job, analysis: Analysis, goal: Goal) -> dict[str, float]:
    """Refuse a budget that no plan can meet, before anything is trained; returns the costs of one that does.

    Raises:
        BudgetError: names the smallest costs that pruning can reach and the limits that stop it.
    """
    scores = tuple(np.ones(len(units)) for units in analysis.groups.units)
    costs = plan_costs(analysis.network, job.target, goal.mode, goal.corrections)
    shares = shares_left(job.model, job.options, goal.mode, costs.exact(analysis.network.full), goal.kernels)
    limits = without_zeros(goal.limits, shares)
    allocation = allocate("greedy", scores, costs, limits, job.target.channel_multiple)
    reached = {name: cost * shares[name] for name, cost in allocation.costs.items()}
    if allocation.missed:
        zeros = "" if job.options.pattern is None else f" and {job.options.final_sparsity:.0%} zeros"
        raise BudgetError(
            f"the budget can't be met by pruning channels{zeros}: {closest_text(reached, goal.limits)}; "
            f"every group is at its smallest ({job.target.channel_multiple} channels). Allow more{_whose(job)}, "
            "or change the model",
            reached,
        )
    return reached


def _whose(job: Job) -> str:
    """Where the limits come from when the user set none."""
    if not job.default_budget:
        return ""
    return f" (these limits are the default budget of {job.target.name}: set --latency-ms, --size-kb or --ram-kb)"


def closest_text(costs: dict[str, float], limits: Limits) -> str:
    """The limits that are missed, with the closest values reached."""
    words = {"latency_ms": "ms latency", "size_kb": "kB file size", "ram_kb": "kB RAM"}
    missed = [row for row in cost_rows(limits, costs, costs) if not row.met]
    return "; ".join(f"closest {row.result:.4g} {words[row.name]}, limit {row.limit:.4g}" for row in missed)
