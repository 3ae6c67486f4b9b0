"""Uniform allocation: every group loses the same share of its units."""

from __future__ import annotations

import numpy as np

from edgeprune.plan.greedy import Allocation, Costs
from edgeprune.plan.limits import Limits

_RATIO_STEPS = 1000


def uniform_to_limits(scores: tuple[np.ndarray, ...], costs: Costs, limits: Limits, multiple: int) -> Allocation:
    """The smallest uniform ratio (in steps of 0.1 %) that meets the limits; arguments and result as for `greedy`."""
    units = np.array([len(own) for own in scores], dtype=np.int64)

    def missed(kept: np.ndarray) -> tuple[str, ...]:
        return tuple(name for name, limit in limits.items() if float(costs[name](kept)) > limit)

    low, high = 0, _RATIO_STEPS
    while low < high:
        middle = (low + high) // 2
        if missed(uniform(units, middle / _RATIO_STEPS, multiple)):
            low = middle + 1
        else:
            high = middle
    kept = uniform(units, low / _RATIO_STEPS, multiple)
    return Allocation(kept, {name: float(function(kept)) for name, function in costs.items()}, missed(kept))


def uniform(units: np.ndarray, ratio: float, multiple: int = 1) -> np.ndarray:
    """(groups,) int64 kept counts: the multiple nearest to (1 - ratio) of each group, or all its units where that is
    nearer; the larger one of two as near. Never fewer than min(multiple, all).

    >>> uniform(np.array([64, 20, 4]), 0.5, 8).tolist()
    [32, 8, 4]
    """
    wanted = units * (1.0 - ratio)
    below = np.floor(wanted / multiple).astype(np.int64) * multiple
    above = np.minimum(below + multiple, units)
    nearest = np.where(wanted - below < above - wanted, below, above)
    return np.asarray(np.maximum(nearest, np.minimum(multiple, units)))
