"""Mean activation: the mean magnitude of a channel's activations (Polyak & Wolf 2015; Molchanov et al. 2017,
"Pruning Convolutional Neural Networks for Resource Efficient Inference", section 2.2)."""

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
    """(units,) float64: mean of |activation|."""
    return mean_per_unit("mean_activation", np.abs, activations, observe, batches, n_units, n_batches)
