"""First-order Taylor importance: how much the loss moves when a channel's weights become zero
(Molchanov et al. 2019, "Importance Estimation for Neural Network Pruning": (sum of w * dL/dw)^2 over the
channel's weights, averaged over batches)."""

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
    """(units,) float64: mean over batches of the squared sum of w * gradient per unit.

    Raises:
        InputError: no data, or the gradients are not finite.
    """
    chosen = trainable(weights)
    totals, count = np.zeros(n_units), 0
    for products in weight_times_gradient("taylor", chosen, model, loss, batches, n_batches):
        totals += (
            per_unit(((p, w.axis, w.units) for p, w in zip(products, chosen, strict=True)), n_units, aggregate) ** 2
        )
        count += 1
    return totals / max(count, 1)
