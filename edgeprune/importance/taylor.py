"""First-order Taylor importance: how much the loss moves when a channel's weights become zero
(Molchanov et al. 2019, "Importance Estimation for Neural Network Pruning": (sum of w * dL/dw)^2 over the
channel's weights, averaged over batches)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from edgeprune.errors import InputError
from edgeprune.importance.aggregate import sum_per_unit
from edgeprune.progress import progress
from edgeprune.records.importance import UnitWeight


def score(
    weights: Iterable[UnitWeight],
    n_units: int,
    *,
    model: Any,
    loss: Callable[[Any, Any], Any] | None,
    batches: Iterable[tuple[Any, Any]] | None,
    n_batches: int | None = None,
    **_: Any,
) -> np.ndarray:
    """(units,) float64: mean over batches of the squared sum of w * gradient per unit.

    Args:
        loss: takes (labels, predictions) and returns a scalar tensor.
        batches: (x, y) pairs; they are streamed, one gradient of the weights is held at a time.

    Raises:
        InputError: no data, or the gradients are not finite.
    """
    import tensorflow as tf

    if batches is None or loss is None:
        raise InputError('the criterion "taylor" needs data; give --data, or choose the criterion "l1"')
    chosen = [weight for weight in weights if weight.role in ("kernel", "bias", "norm") and weight.variable.trainable]
    values = [weight.variable.value for weight in chosen]

    @tf.function(reduce_retracing=True)
    def contributions(x: Any, y: Any) -> list[Any]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(values)
            error = loss(y, model(x, training=False))
        gradients = tape.gradient(error, values, unconnected_gradients="zero")
        return [value * gradient for value, gradient in zip(values, gradients, strict=True)]

    totals = np.zeros(n_units)
    count = 0
    with progress("importance (taylor)", n_batches) as advance:
        for x, y in batches:
            products = contributions(x, y)
            per_unit = sum_per_unit(
                ((np.asarray(p), w.axis, w.units) for p, w in zip(products, chosen, strict=True)), n_units
            )
            totals += per_unit**2
            count += 1
            advance(1, "")
    if count == 0:
        raise InputError('the criterion "taylor" got no batches of data')
    if not np.isfinite(totals).all():
        raise InputError("the gradients of the loss are not finite; check the loss, the labels and the model's weights")
    return totals / count
