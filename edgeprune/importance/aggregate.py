"""From a score per weight to a score per unit: sum over everything that makes the unit's channels."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

# One array of per-weight scores with the axis that makes channels and the unit at every index of it.
ScoredWeight = tuple[np.ndarray, int, np.ndarray]


def sum_per_unit(scored: Iterable[ScoredWeight], n_units: int) -> np.ndarray:
    """(units,) float64: for each unit the sum of the scores of all its weights.

    Args:
        scored: (scores, axis, units) with scores of the variable's shape and units (scores.shape[axis],).
    """
    totals = np.zeros(n_units)
    for scores, axis, units in scored:
        others = tuple(d for d in range(scores.ndim) if d != axis)
        totals += np.bincount(units, weights=scores.sum(axis=others, dtype=np.float64), minlength=n_units)
    return totals
