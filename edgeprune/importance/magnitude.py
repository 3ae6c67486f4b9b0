"""L1 magnitude: the sum of |w| over the kernels that make a channel (Li et al. 2017, "Pruning Filters for
Efficient ConvNets"). Needs no data."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from edgeprune.importance.aggregate import per_unit
from edgeprune.records.importance import UnitWeight


def score(weights: Iterable[UnitWeight], n_units: int, *, aggregate: str = "sum", **_: Any) -> np.ndarray:
    """(units,) float64: sum of absolute kernel weights."""
    kernels = (weight for weight in weights if weight.role == "kernel")
    return per_unit(((np.abs(np.asarray(w.variable)), w.axis, w.units) for w in kernels), n_units, aggregate)
