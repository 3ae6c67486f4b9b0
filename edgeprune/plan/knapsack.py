"""Latency-aware knapsack: keep the most importance under all limits at once (HALP, Shen et al. 2022).

One group's kept counts are levels in rank order: a unit is kept only when the better ones are. Each group takes
exactly one level; value is the summed importance, weight the change of every cost at the current widths of
all other groups. Costs of neighbouring layers multiply, so the weights hold near the point they were taken at: the
problem is solved again from each solution until it stays. Solved exactly by HiGHS (scipy.optimize.milp) instead
of HALP's dynamic programme over one budget, so that latency, size and RAM can be limited together.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_matrix

from edgeprune.cost.change import Changes
from edgeprune.plan.changes import changed_costs
from edgeprune.plan.greedy import Allocation, Costs, greedy
from edgeprune.plan.levels import levels, losses
from edgeprune.plan.limits import Limits
from edgeprune.quiet import muted_native_output

_MAX_SOLVES = 8
# Solutions within this share of the best are good enough; importance is an estimate anyway.
_GAP = 1e-3
# Bounded by nodes, not by time: the same input must give the same plan on a busy machine.
_MAX_NODES = 5000


def knapsack(scores: tuple[np.ndarray, ...], costs: Costs, limits: Limits, multiple: int) -> Allocation:
    """Allocate units to groups; arguments and result as for `greedy`.

    What the linear weights still miss by a little is mended by greedy steps from there. Where no plan meets the
    limits the result is greedy's, which names what is missed.
    """
    counts = [levels(len(own), multiple) for own in scores]
    lost = np.array([value for own, count in zip(scores, counts, strict=True) for value in losses(own, count)])
    group = np.repeat(np.arange(len(scores)), [len(count) for count in counts])
    level = np.concatenate(counts) if counts else np.zeros(0, dtype=np.int64)

    best = greedy(scores, costs, limits, multiple)
    if best.missed or not limits.items() or not len(level):
        return best
    lowest = _loss(scores, best.kept)
    point = best.kept
    for _ in range(_MAX_SOLVES):
        solved = _solve(point, group, level, lost, costs, limits)
        if solved is None:
            break
        candidate = greedy(scores, costs, limits, multiple, start=solved)
        loss = _loss(scores, candidate.kept)
        if not candidate.missed and loss < lowest:
            best, lowest = candidate, loss
        if (solved == point).all():
            break
        point = solved
    return best


def _solve(
    point: np.ndarray, group: np.ndarray, level: np.ndarray, lost: np.ndarray, costs: Costs, limits: Limits
) -> np.ndarray | None:
    """(groups,) kept counts of the best choice by weights taken at `point`; None when there is none."""
    changes = Changes(point, group, level)
    one_each = csr_matrix((np.ones(len(level)), (group, np.arange(len(level)))), shape=(len(point), len(level)))
    constraints = [LinearConstraint(one_each, 1, 1)]
    for name, limit in limits.items():
        now = float(costs[name](point))
        change = changed_costs(costs[name], changes) - now
        constraints.append(LinearConstraint(change[None, :] / limit, -np.inf, (limit - now) / limit))
    scale = max(float(lost.max(initial=0.0)), 1e-300)
    with muted_native_output():  # HiGHS prints debugging lines past its own log options
        found = milp(
            lost / scale,
            constraints=constraints,
            integrality=np.ones(len(level)),
            bounds=Bounds(0, 1),
            options={"mip_rel_gap": _GAP, "node_limit": _MAX_NODES},
        )
    if found.x is None:
        return None
    chosen = found.x > 0.5
    kept: np.ndarray = point.copy()
    kept[group[chosen]] = level[chosen]
    return kept


def _loss(scores: tuple[np.ndarray, ...], kept: np.ndarray) -> float:
    return sum(float(losses(own, kept[g : g + 1])[0]) for g, own in enumerate(scores))
