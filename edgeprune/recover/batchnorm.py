"""Re-estimating BatchNorm statistics after surgery, from a few hundred training batches.

Removing channels shifts what later layers see; fresh statistics often recover most of the loss at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from edgeprune.progress import progress


def reestimate_statistics(model: Any, batches: Iterable[tuple[Any, Any]], n_batches: int | None = None) -> int:
    """Replace the moving mean and variance of every trainable BatchNormalization by those of the given batches.

    With momentum 0 a training-mode pass leaves the batch's own statistics in the layer; they are combined by the law
    of total variance: var = mean(var_b) + var(mean_b).

    Returns:
        The number of batches used; 0 when the model has no BatchNorm to re-estimate.
    """
    import keras
    import tensorflow as tf

    layers = [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
    ]
    if not layers:
        return 0
    momenta = [layer.momentum for layer in layers]
    others = [variable for variable in model.non_trainable_variables if "seed_generator" in variable.path]
    saved = [np.asarray(variable) for variable in others]
    for layer in layers:
        layer.momentum = 0.0
    try:
        forward = tf.function(lambda x: model(x, training=True), reduce_retracing=True)
        sums = [[np.zeros(layer.moving_mean.shape, dtype=np.float64) for _ in range(3)] for layer in layers]
        count = 0
        with progress("BatchNorm statistics", n_batches) as advance:
            for x, _ in batches:
                forward(x)
                count += 1
                for (mean, square, variance), layer in zip(sums, layers, strict=True):
                    batch_mean = np.asarray(layer.moving_mean, dtype=np.float64)
                    mean += batch_mean
                    square += batch_mean**2
                    variance += np.asarray(layer.moving_variance, dtype=np.float64)
                advance(1, "")
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        for variable, value in zip(others, saved, strict=True):
            variable.assign(value)
    for (mean, square, variance), layer in zip(sums, layers, strict=True):
        if count:
            layer.moving_mean.assign(mean / count)
            layer.moving_variance.assign(variance / count + np.maximum(square / count - (mean / count) ** 2, 0.0))
    return count
