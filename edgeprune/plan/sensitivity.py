"""Allocation from a measured sensitivity map (the search of FastNAS in NVIDIA ModelOpt): the smallest width of
every group whose measured loss of quality stays under one threshold, as high a threshold as the limits force.

The map does not depend on limits or target, so another budget costs no measurement.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeprune.plan.greedy import Allocation, Costs
from edgeprune.plan.limits import Limits


@dataclass(frozen=True, eq=False)
class SensitivityMap:
    """counts[g]: (levels,) kept counts of group g, descending, all units first; harm[g]: (levels,) how much worse the
    model got with only that many, 0 for all units."""

    counts: tuple[np.ndarray, ...]
    harm: tuple[np.ndarray, ...]


def probe_counts(units: int, multiple: int, points: int) -> np.ndarray:
    """(levels,) int64, descending: all units and about `points` smaller multiples, spread evenly down to the smallest.

    >>> probe_counts(64, 8, 3).tolist()
    [64, 48, 24, 8]
    """
    smallest = min(multiple, units)
    wanted = np.linspace(units, smallest, points + 1)
    rounded = np.clip(np.rint(wanted / multiple).astype(np.int64) * multiple, smallest, units)
    rounded[0] = units
    return np.unique(rounded)[::-1]


def by_sensitivity(found: SensitivityMap, costs: Costs, limits: Limits) -> Allocation:
    """Bisect the threshold over all measured harms. Harm is made monotone first: fewer units never count as better."""
    harm = tuple(np.maximum.accumulate(np.maximum(own, 0.0)) for own in found.harm)
    thresholds = np.unique(np.concatenate([np.zeros(1), *harm]))

    def kept_at(number: int) -> np.ndarray:
        limit = thresholds[number]
        # harm is sorted: the last level at or under the threshold is the smallest width allowed
        places = [int(np.searchsorted(own, limit, side="right")) - 1 for own in harm]
        return np.array([counts[place] for counts, place in zip(found.counts, places, strict=True)], dtype=np.int64)

    def missed(kept: np.ndarray) -> tuple[str, ...]:
        return tuple(name for name, limit in limits.items() if float(costs[name](kept)) > limit)

    full = np.array([counts[0] for counts in found.counts], dtype=np.int64)
    if not missed(full):
        kept = full
    else:
        low, high = 0, len(thresholds) - 1
        while low < high:
            middle = (low + high) // 2
            if missed(kept_at(middle)):
                low = middle + 1
            else:
                high = middle
        kept = kept_at(low)
    return Allocation(kept, {name: float(function(kept)) for name, function in costs.items()}, missed(kept))
