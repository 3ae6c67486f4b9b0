"""Greedy allocation: take the step that loses the least importance per saved cost, until every limit is met.

A step takes one group down to the next multiple of the target's channel multiple. Savings of all limits that
are not met yet count, each as a share of what is still too much, so a mix of latency, size and RAM is one
number (the idea of NetAdapt, Yang et al. 2018, with importance in place of trial fine-tuning).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from edgeprune.plan.limits import Limits

# cost name -> function of (groups, plans) kept counts giving (plans,) costs
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
    lost = [np.concatenate([[0.0], np.cumsum(np.sort(np.maximum(own, 0.0)))]) for own in scores]
    units = np.array([len(own) for own in scores], dtype=np.int64)
    kept = units.copy() if start is None else start.copy()
    active = limits.items()

    def evaluate(plans: np.ndarray) -> dict[str, np.ndarray]:
        return {name: costs[name](plans) for name, _ in active}

    def loss(plan: np.ndarray) -> np.ndarray:
        return np.array([lost[g][units[g] - plan[g]] for g in range(len(units))])

    now = {name: float(value) for name, value in evaluate(kept).items()}
    taken: list[tuple[int, int]] = []
    while any(now[name] > limit for name, limit in active):
        following = next_step(kept, multiple)
        movable = np.flatnonzero(following < kept)
        if not len(movable):
            break
        candidates = np.repeat(kept[:, None], len(movable), axis=1)
        candidates[movable, np.arange(len(movable))] = following[movable]
        after = evaluate(candidates)
        saved = np.zeros(len(movable))
        for name, limit in active:
            if now[name] > limit:
                saved += np.minimum((now[name] - after[name]) / (now[name] - limit), 1.0)
        price = (loss(following) - loss(kept))[movable]
        # A step that saves nothing yet may still lead to one that does: it comes last, cheapest first.
        rank = np.where(saved > 1e-12, price / np.maximum(saved, 1e-12), np.inf)
        best = int(np.lexsort((price, rank))[0])
        group = int(movable[best])
        taken.append((group, int(kept[group])))
        kept[group] = following[group]
        now = {name: float(values[best]) for name, values in after.items()}

    if all(now[name] <= limit for name, limit in active):
        kept = _give_back(kept, taken, evaluate, active, loss)
    now = {name: float(function(kept)) for name, function in costs.items()}
    missed = tuple(name for name, limit in active if now[name] > limit)
    return Allocation(kept, now, missed)


def next_step(kept: np.ndarray, multiple: int) -> np.ndarray:
    """(groups,) int64: the next smaller count of each group; groups that can't shrink keep theirs."""
    smaller = (kept - 1) // multiple * multiple
    return np.where(smaller >= 1, smaller, kept)


def _give_back(
    kept: np.ndarray,
    taken: list[tuple[int, int]],
    evaluate: Callable[[np.ndarray], dict[str, np.ndarray]],
    active: list[tuple[str, float]],
    loss: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    """Undo steps that later, larger ones made needless, the most important first."""
    previous: dict[int, list[int]] = {}
    for group, before in taken:
        previous.setdefault(group, []).append(before)
    open_groups = set(previous)
    while open_groups:
        gains = {g: loss(kept)[g] - loss(_with(kept, g, previous[g][-1]))[g] for g in open_groups}
        group = max(gains, key=lambda g: (gains[g], -g))
        trial = _with(kept, group, previous[group][-1])
        costs = evaluate(trial)
        if all(float(costs[name]) <= limit for name, limit in active):
            kept = trial
            previous[group].pop()
        else:
            previous[group] = []
        if not previous[group]:
            open_groups.discard(group)
    return kept


def _with(kept: np.ndarray, group: int, count: int) -> np.ndarray:
    changed: np.ndarray = kept.copy()
    changed[group] = count
    return changed
