"""Which units go, once it is known how many of each group stay."""

from __future__ import annotations

import numpy as np


def units_to_remove(groups: tuple[np.ndarray, ...], scores: tuple[np.ndarray, ...], kept: np.ndarray) -> np.ndarray:
    """The least important units of every group. Ties go by channel order, so the result is reproducible.

    Args:
        groups: per group its unit numbers. scores: per group the importance of those units.
        kept: (groups,) how many stay.
    """
    removed = [
        units[np.argsort(own, kind="stable")[: len(units) - int(count)]]
        for units, own, count in zip(groups, scores, kept, strict=True)
    ]
    return np.concatenate(removed) if removed else np.zeros(0, dtype=np.int64)
