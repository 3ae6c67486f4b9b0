"""L2 magnitude: the Euclidean norm of the kernel weights that make a channel (He et al. 2018, "Soft Filter
Pruning"). Needs no data."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from edgeprune.importance.aggregate import per_unit
from edgeprune.records.importance import UnitWeight


def score(weights: Iterable[UnitWeight], n_units: int, *, aggregate: str = "sum", **_: Any) -> np.ndarray:
    """(units,) float64: square root of the summed squares."""
    kernels = (weight for weight in weights if weight.role == "kernel")
    squares = ((np.square(np.asarray(w.variable), dtype=np.float64), w.axis, w.units) for w in kernels)
    return np.sqrt(per_unit(squares, n_units, aggregate))
