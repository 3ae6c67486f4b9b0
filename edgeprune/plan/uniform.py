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
    """(groups,) int64 kept counts: at most (1 - ratio) of each group, rounded to the nearest multiple, never
    fewer than min(multiple, all) and never more than all.

    >>> uniform(np.array([64, 20, 4]), 0.5, 8).tolist()
    [32, 8, 4]
    """
    wanted = np.rint(units * (1.0 - ratio) / multiple).astype(np.int64) * multiple
    return np.clip(wanted, np.minimum(multiple, units), units)
