"""Geometric median: a channel is redundant when its filter is close to all others of the same kernel (He et al. 2019,
"Filter Pruning via Geometric Median"). Needs no data."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist

from edgeprune.importance.aggregate import per_unit
from edgeprune.records.importance import UnitWeight


def score(weights: Iterable[UnitWeight], n_units: int, *, aggregate: str = "sum", **_: Any) -> np.ndarray:
    """(units,) float64: summed Euclidean distance of a channel's filter to all filters of its kernel.

    Memory: one (channels, channels) matrix per kernel.
    """

    def distances(weight: UnitWeight) -> np.ndarray:
        filters = np.moveaxis(np.asarray(weight.variable, dtype=np.float64), weight.axis, 0)
        filters = filters.reshape(len(filters), -1)
        return np.asarray(cdist(filters, filters).sum(axis=1))

    kernels = (weight for weight in weights if weight.role == "kernel")
    return per_unit(((distances(w), 0, w.units) for w in kernels), n_units, aggregate)
