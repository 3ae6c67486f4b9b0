"""Uniform allocation: every group loses the same share of its units."""

from __future__ import annotations

import numpy as np


def uniform(units: np.ndarray, ratio: float, multiple: int = 1) -> np.ndarray:
    """(groups,) int64 kept counts: at most (1 - ratio) of each group, rounded to the nearest multiple, never
    fewer than min(multiple, all) and never more than all.

    >>> uniform(np.array([64, 20, 4]), 0.5, 8).tolist()
    [32, 8, 4]
    """
    wanted = np.rint(units * (1.0 - ratio) / multiple).astype(np.int64) * multiple
    return np.clip(wanted, np.minimum(multiple, units), units)
