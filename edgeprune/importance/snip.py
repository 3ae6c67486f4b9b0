"""SNIP: connection sensitivity |w * dL/dw| of the gradient over all given data, before any training (Lee et al. 2019),
summed over the kernel weights that make a channel and divided by the total."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from edgeprune.importance.aggregate import per_unit
from edgeprune.importance.gradients import trainable, weight_times_gradient
from edgeprune.records.importance import UnitWeight


def score(
    weights: Iterable[UnitWeight],
    n_units: int,
    *,
    aggregate: str = "sum",
    model: Any = None,
    loss: Callable[[Any, Any], Any] | None = None,
    batches: Iterable[tuple[Any, Any]] | None = None,
    n_batches: int | None = None,
    **_: Any,
) -> np.ndarray:
    """(units,) float64, summing to 1 over all units: the batches' gradients are added first, as for one large batch.

    Raises:
        InputError: no data, or the gradients are not finite.
    """
    chosen = [weight for weight in trainable(weights) if weight.role == "kernel"]
    summed: list[np.ndarray] | None = None
    for products in weight_times_gradient("snip", chosen, model, loss, batches, n_batches):
        summed = products if summed is None else [total + p for total, p in zip(summed, products, strict=True)]
    scored = ((np.abs(total), w.axis, w.units) for total, w in zip(summed or [], chosen, strict=True))
    totals = per_unit(scored, n_units, aggregate)
    return totals / max(totals.sum(), 1e-300)
