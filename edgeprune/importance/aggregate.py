"""From a score per weight to a score per unit: over everything that makes the unit's channels."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

# One array of per-weight scores with the axis that makes channels and the unit at every index of it.
ScoredWeight = tuple[np.ndarray, int, np.ndarray]

# How the variables that make one unit together are combined.
AGGREGATES = ("sum", "mean", "max")


def per_unit(scored: Iterable[ScoredWeight], n_units: int, aggregate: str = "sum") -> np.ndarray:
    """(units,) float64: the scores of a unit summed within each variable, then combined over the variables.

    Args:
        scored: (scores, axis, units) with scores of the variable's shape and units (scores.shape[axis],).
        aggregate: sum, mean (over the variables that make the unit) or max (of the absolute sums). Sum favours units
            that many layers share, mean and max do not.
    """
    totals, places = np.zeros(n_units), np.zeros(n_units)
    for scores, axis, units in scored:
        others = tuple(d for d in range(scores.ndim) if d != axis)
        own = np.bincount(units, weights=scores.sum(axis=others, dtype=np.float64), minlength=n_units)
        if aggregate == "max":
            np.maximum(totals, np.abs(own), out=totals)
        else:
            totals += own
        places += np.bincount(units, minlength=n_units) > 0
    return totals / np.maximum(places, 1) if aggregate == "mean" else totals
