"""Activation zeros: a channel that is mostly zero after its activation says little (Hu et al. 2016, "Network
Trimming", average percentage of zeros). Importance is the share of nonzero activations, 1 - APoZ."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from edgeprune.importance.activations import Observe, mean_per_unit
from edgeprune.records.importance import UnitActivation, UnitWeight


def score(
    weights: Iterable[UnitWeight],
    n_units: int,
    *,
    activations: Sequence[UnitActivation] = (),
    observe: Observe | None = None,
    batches: Iterable[tuple[Any, Any]] | None = None,
    n_batches: int | None = None,
    **_: Any,
) -> np.ndarray:
    """(units,) float64 in 0..1: share of activations that are not zero."""
    return mean_per_unit("apoz", lambda value: value != 0, activations, observe, batches, n_units, n_batches)
