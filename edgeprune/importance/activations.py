"""Statistics of activations per unit, streamed over data: what the computing layers really read of a channel."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from edgeprune.errors import InputError
from edgeprune.progress import progress
from edgeprune.records.importance import UnitActivation

Observe = Callable[[Any], Sequence[Any]]


def mean_per_unit(
    name: str,
    statistic: Callable[[np.ndarray], np.ndarray],
    activations: Sequence[UnitActivation],
    observe: Observe | None,
    batches: Iterable[tuple[Any, Any]] | None,
    n_units: int,
    n_batches: int | None,
) -> np.ndarray:
    """(units,) float64: mean of `statistic` over samples, positions and the places where a unit is read.

    Args:
        statistic: elementwise function of an activation (batch, ...).
        observe: model inputs -> values of `activations`, in order. One batch is in memory at a time.

    Raises:
        InputError: no data.
    """
    if batches is None or observe is None:
        raise InputError(f'the criterion "{name}" needs data; give --data, or choose the criterion "l1"')
    totals, counts = np.zeros(n_units), np.zeros(n_units)
    with progress(f"importance ({name})", n_batches) as advance:
        for x, _ in batches:
            for activation, value in zip(activations, observe(x), strict=True):
                found = statistic(np.asarray(value)).sum(axis=0, dtype=np.float64)
                samples = len(value)
                units = np.broadcast_to(activation.units, found.shape).ravel()
                totals += np.bincount(units, weights=found.ravel(), minlength=n_units)
                counts += np.bincount(units, minlength=n_units) * samples
            advance(1, "")
    if not counts.any():
        raise InputError(f'the criterion "{name}" got no batches of data')
    return totals / np.maximum(counts, 1.0)
