"""Re-estimating BatchNorm statistics after surgery, from a few hundred training batches.

Removing channels shifts what later layers see; fresh statistics often recover most of the loss at once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from edgeprune.progress import progress

# mean, variance and number of elements per channel of one call, as tensors
_Moments = tuple[Any, Any, Any]


def reestimate_statistics(model: Any, batches: Iterable[tuple[Any, Any]], n_batches: int | None = None) -> int:
    """Replace the moving mean and variance of every trainable BatchNormalization by those of the given batches.

    With momentum 0 a training-mode call leaves the batch's own statistics in the layer. Those of all calls, weighted
    by elements, are combined by the law of total variance: var = mean(var_b) + var(mean_b). Everything else in the
    model stays as it was; on an error so do the statistics.

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
    totals = [_Total(layer.moving_mean.shape[0]) for layer in layers]
    count = 0
    with _kept(model), _recorded_calls(layers) as calls, progress("BatchNorm statistics", n_batches) as advance:

        def forward(x: Any) -> list[list[_Moments]]:
            for found in calls:
                found.clear()
            model(x, training=True)
            return [list(found) for found in calls]

        compiled = tf.function(forward, reduce_retracing=True)
        for x, _ in batches:
            for total, moments in zip(totals, compiled(x), strict=True):
                for mean, variance, elements in moments:
                    total.add(np.asarray(mean), np.asarray(variance), float(elements))
            count += 1
            advance(1, "")
    for layer, total in zip(layers, totals, strict=True):
        if total.elements:
            layer.moving_mean.assign(total.mean())
            layer.moving_variance.assign(total.variance())
    return count


class _Total:
    """Statistics of everything added so far, in float64."""

    def __init__(self, channels: int) -> None:
        self.elements = 0.0
        self._sum = np.zeros(channels)
        self._squares = np.zeros(channels)
        self._within = np.zeros(channels)

    def add(self, mean: np.ndarray, variance: np.ndarray, elements: float) -> None:
        mean = mean.astype(np.float64)
        self.elements += elements
        self._sum += elements * mean
        self._squares += elements * mean**2
        self._within += elements * variance.astype(np.float64)

    def mean(self) -> np.ndarray:
        return self._sum / self.elements

    def variance(self) -> np.ndarray:
        between = self._squares / self.elements - self.mean() ** 2
        return self._within / self.elements + np.maximum(between, 0.0)


@contextlib.contextmanager
def _kept(model: Any) -> Iterator[None]:
    """Put back what calls in training mode change: BatchNorm statistics, states of random layers, and the like."""
    saved = [(variable, np.asarray(variable)) for variable in model.non_trainable_variables]
    try:
        yield
    finally:
        for variable, value in saved:
            variable.assign(value)


@contextlib.contextmanager
def _recorded_calls(layers: list[Any]) -> Iterator[list[list[_Moments]]]:
    """Per layer the statistics of each of its calls; a shared layer is called several times in one pass."""
    momenta = [layer.momentum for layer in layers]
    calls: list[list[_Moments]] = [[] for _ in layers]
    try:
        for layer, found in zip(layers, calls, strict=True):
            layer.momentum = 0.0
            layer.call = _recording(layer, layer.call, found)
        yield calls
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
            layer.__dict__.pop("call", None)


def _recording(layer: Any, call: Callable[..., Any], found: list[_Moments]) -> Callable[..., Any]:
    import tensorflow as tf

    def recorded(inputs: Any, *args: Any, **kwargs: Any) -> Any:
        outputs = call(inputs, *args, **kwargs)
        statistics = tf.identity(layer.moving_mean), tf.identity(layer.moving_variance)
        found.append((*statistics, tf.size(inputs) / tf.shape(inputs)[layer.axis]))
        return outputs

    return recorded
