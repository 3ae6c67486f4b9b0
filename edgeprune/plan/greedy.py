"""Greedy allocation: take the step that loses the least importance per saved cost, until every limit is met.

A step takes one group down to the next multiple of the target's channel multiple. Savings of all limits that
are not met yet count, each as a share of what is still too much, so a mix of latency, size and RAM is one
number (the idea of NetAdapt, Yang et al. 2018, with importance in place of trial fine-tuning).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from edgeprune.cost.change import Changes
from edgeprune.plan.changes import changed_costs
from edgeprune.plan.limits import Limits

# cost name -> function of (groups,) or (groups, plans) kept counts giving () or (plans,) costs; a plan.changes.Cost is
# evaluated faster
Costs = Mapping[str, Callable[[np.ndarray], np.ndarray]]


@dataclass(frozen=True, eq=False)
class Allocation:
    """How many units each group keeps, what that costs, and which limits are missed (empty when all are met)."""

    kept: np.ndarray
    costs: dict[str, float]
    missed: tuple[str, ...]


def greedy(
    scores: tuple[np.ndarray, ...],
    costs: Costs,
    limits: Limits,
    multiple: int,
    start: np.ndarray | None = None,
) -> Allocation:
    """Allocate units to groups.

    Args:
        scores: per group the importance of its units, any order.
        costs: functions of kept counts (groups, plans) -> (plans,), by the names of `Limits`.
        multiple: kept counts of larger groups are multiples of it; groups of that size or less stay.
        start: (groups,) kept counts to begin from; all units by default.
    """
    units = np.array([len(own) for own in scores], dtype=np.int64)
    lost = _Lost(scores)
    kept = units.copy() if start is None else start.copy()
    active = limits.items()

    now = {name: float(costs[name](kept)) for name, _ in active}
    taken: list[tuple[int, int]] = []
    while any(now[name] > limit for name, limit in active):
        following = next_step(kept, multiple)
        movable = np.flatnonzero(following < kept)
        if not len(movable):
            break
        changes = Changes(kept, movable, following[movable])
        saved = np.zeros(len(movable))
        for name, limit in active:
            if now[name] > limit:
                after = changed_costs(costs[name], changes)
                saved += np.minimum((now[name] - after) / (now[name] - limit), 1.0)
        price = (lost(following) - lost(kept))[movable]
        # A step that saves nothing yet may still lead to one that does: it comes last, cheapest first.
        rank = np.where(saved > 1e-12, price / np.maximum(saved, 1e-12), np.inf)
        group = int(movable[np.lexsort((price, rank))[0]])
        taken.append((group, int(kept[group])))
        kept[group] = following[group]
        now = {name: float(costs[name](kept)) for name, _ in active}

    if not any(now[name] > limit for name, limit in active):
        kept = _give_back(kept, taken, costs, active, lost)
    now = {name: float(function(kept)) for name, function in costs.items()}
    missed = tuple(name for name, limit in active if now[name] > limit)
    return Allocation(kept, now, missed)


def next_step(kept: np.ndarray, multiple: int) -> np.ndarray:
    """(groups,) int64: the next smaller count of each group; groups that can't shrink keep theirs."""
    smaller = (kept - 1) // multiple * multiple
    return np.where(smaller >= 1, smaller, kept)


class _Lost:
    """(groups,) float64: the importance each group has lost under a plan that keeps its most important units."""

    def __init__(self, scores: tuple[np.ndarray, ...]) -> None:
        sums = [np.concatenate([[0.0], np.cumsum(np.sort(np.maximum(own, 0.0)))]) for own in scores]
        self._sums = np.concatenate(sums) if sums else np.zeros(0)
        # where keeping no unit of the group stands
        self._ends = np.cumsum([len(own) + 1 for own in scores], dtype=np.int64) - 1

    def __call__(self, plan: np.ndarray) -> np.ndarray:
        return np.asarray(self._sums[self._ends - plan])


def _give_back(
    kept: np.ndarray, taken: list[tuple[int, int]], costs: Costs, active: list[tuple[str, float]], lost: _Lost
) -> np.ndarray:
    """Undo steps that later, larger ones made needless, the most important first."""
    earlier: dict[int, list[int]] = {}
    for group, before in taken:
        earlier.setdefault(group, []).append(before)
    while earlier:
        undone = kept.copy()
        for group, counts in earlier.items():
            undone[group] = counts[-1]
        gains = lost(kept) - lost(undone)
        group = max(earlier, key=lambda g: (gains[g], -g))
        trial = kept.copy()
        trial[group] = earlier[group].pop()
        fits = all(float(costs[name](trial)) <= limit for name, limit in active)
        if fits:
            kept = trial
        if not fits or not earlier[group]:
            del earlier[group]
    return kept
