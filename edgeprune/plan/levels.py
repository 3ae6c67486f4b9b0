"""The kept counts a group may have."""

from __future__ import annotations

import numpy as np


def levels(units: int, multiple: int) -> np.ndarray:
    """(levels,) int64, descending: all units, then every smaller multiple down to one multiple.

    >>> levels(20, 8).tolist()
    [20, 16, 8]
    >>> levels(6, 8).tolist()
    [6]
    """
    smaller = np.arange((units - 1) // multiple * multiple, 0, -multiple, dtype=np.int64)
    return np.concatenate([[units], smaller]).astype(np.int64)


def losses(scores: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(levels,) float64: the importance lost when only `counts` units, the most important ones, are kept."""
    lost = np.concatenate([[0.0], np.cumsum(np.sort(np.maximum(scores, 0.0)))])
    return np.asarray(lost[len(scores) - counts])
