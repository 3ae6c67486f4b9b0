"""Global ranking: one importance threshold for all groups, as low as the limits allow."""

from __future__ import annotations

import numpy as np

from edgeprune.plan.greedy import Allocation, Costs
from edgeprune.plan.limits import Limits


def global_ranking(scores: tuple[np.ndarray, ...], costs: Costs, limits: Limits, multiple: int) -> Allocation:
    """Every unit below one threshold goes; arguments and result as for `greedy`.

    Kept counts are rounded up to the multiple, and no group falls below one multiple. The threshold is found by
    bisection over the ranks of all units.
    """
    ranked = np.sort(np.concatenate(scores)) if scores else np.zeros(0)
    low, high = 0, len(ranked)
    # Invariant: removing `high` units meets the limits if anything does; removing fewer than `low` does not.
    while low < high:
        middle = (low + high) // 2
        if _missed(_kept(scores, ranked, middle, multiple), costs, limits):
            low = middle + 1
        else:
            high = middle
    kept = _kept(scores, ranked, low, multiple)
    now = {name: float(function(kept)) for name, function in costs.items()}
    return Allocation(kept, now, _missed(kept, costs, limits))


def _kept(scores: tuple[np.ndarray, ...], ranked: np.ndarray, removed: int, multiple: int) -> np.ndarray:
    """(groups,) kept counts when the `removed` least important units of all go."""
    threshold = -np.inf if removed == 0 else ranked[removed - 1]
    units = np.array([len(own) for own in scores], dtype=np.int64)
    above = np.array([(own > threshold).sum() for own in scores], dtype=np.int64)
    rounded = -(-above // multiple) * multiple
    return np.minimum(np.maximum(rounded, np.minimum(multiple, units)), units)


def _missed(kept: np.ndarray, costs: Costs, limits: Limits) -> tuple[str, ...]:
    return tuple(name for name, limit in limits.items() if float(costs[name](kept)) > limit)
