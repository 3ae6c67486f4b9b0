"""BatchNorm scale: |gamma| of the channel (Liu et al. 2017, "Network Slimming"). Needs no data.

Only units that a BatchNormalization with a scale normalizes can be ranked; a group without one falls back to the
L1 magnitude, which is comparable within the group only.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from edgeprune.errors import InputError
from edgeprune.importance import magnitude
from edgeprune.importance.aggregate import per_unit
from edgeprune.records.importance import UnitWeight


def score(weights: Iterable[UnitWeight], n_units: int, *, aggregate: str = "sum", **_: Any) -> np.ndarray:
    """(units,) float64: sum of |gamma|.

    Raises:
        InputError: the model has no BatchNorm scale at all.
    """
    weights = list(weights)
    scales = [weight for weight in weights if weight.role == "norm" and weight.variable.name == "gamma"]
    if not scales:
        raise InputError('the criterion "bn_scale" needs BatchNormalization layers with scale=True; choose "l1"')
    totals = per_unit(((np.abs(np.asarray(w.variable)), w.axis, w.units) for w in scales), n_units, aggregate)
    has_scale = np.zeros(n_units, dtype=bool)
    has_scale[np.concatenate([weight.units for weight in scales])] = True
    return np.where(has_scale, totals, magnitude.score(weights, n_units, aggregate=aggregate))
