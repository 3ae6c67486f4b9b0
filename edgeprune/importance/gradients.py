"""Products of weights and gradients, streamed over data: the ground of Taylor and SNIP."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from edgeprune.errors import InputError
from edgeprune.progress import progress
from edgeprune.records.importance import UnitWeight

_HALF_PRECISION_SCALE = 1024.0


def trainable(weights: Iterable[UnitWeight]) -> list[UnitWeight]:
    """The weights that have gradients."""
    return [weight for weight in weights if weight.role in ("kernel", "bias", "norm") and weight.variable.trainable]


def weight_times_gradient(
    name: str,
    weights: Sequence[UnitWeight],
    model: Any,
    loss: Callable[[Any, Any], Any] | None,
    batches: Iterable[tuple[Any, Any]] | None,
    n_batches: int | None,
) -> Iterator[list[np.ndarray]]:
    """Per batch one array per weight: w * dL/dw, of the variable's shape.

    Args:
        loss: takes (labels, predictions) and returns a scalar tensor.
        batches: (x, y) pairs; one batch and one gradient of the weights are held at a time.

    Raises:
        InputError: no data, or the gradients are not finite.
    """
    if batches is None or loss is None:
        raise InputError(f'the criterion "{name}" needs data; give --data, or choose the criterion "l1"')
    import tensorflow as tf

    values = [weight.variable.value for weight in weights]
    # half-precision gradients of large feature maps would become zero
    half = any(layer.compute_dtype == "float16" for layer in model._flatten_layers())
    scale = _HALF_PRECISION_SCALE if half else 1.0

    @tf.function(reduce_retracing=True)
    def products(x: Any, y: Any) -> list[Any]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(values)
            error = loss(y, model(x, training=False)) * scale
        gradients = tape.gradient(error, values, unconnected_gradients="zero")
        return [value * gradient / scale for value, gradient in zip(values, gradients, strict=True)]

    count = 0
    with progress(f"importance ({name})", n_batches) as advance:
        for x, y in batches:
            found = [np.asarray(product) for product in products(x, y)]
            if not all(np.isfinite(product).all() for product in found):
                raise InputError(
                    "the gradients of the loss are not finite; check the loss, the labels and the model's weights"
                )
            yield found
            count += 1
            advance(1, "")
    if count == 0:
        raise InputError(f'the criterion "{name}" got no batches of data')
