"""A model's loss as one scalar, for gradients outside `fit`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from edgeprune.task.resolve import Task


def scalar_loss(model: Any, task: Task) -> Callable[[Any, Any], Any]:
    """(labels, predictions) -> scalar tensor, for any loss that `compile` takes.

    Only what depends on the data counts: at the end of training the gradient of weight decay cancels that of the data,
    and says nothing about how much a channel matters. The model's own compiled state stays untouched: a model of
    nothing but inputs in the form of its outputs holds the loss.
    """
    import keras

    # Sequential defines `output` only once it has been called.
    output = model.outputs[0] if isinstance(model, keras.Sequential) else model.output
    predicted = keras.tree.map_structure(
        lambda tensor: keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype), output
    )
    holder = keras.Model(keras.tree.flatten(predicted), predicted)
    holder.compile(loss=task.loss, loss_weights=task.loss_weights, jit_compile=False)
    return lambda labels, predictions: holder.compute_loss(y=labels, y_pred=predictions)


def mean_loss(model: Any, task: Task) -> Callable[[Iterable[tuple[Any, Any]]], float]:
    """A function from (x, y) batches to the mean loss per sample; compiled once, it reads the weights at each call."""
    import tensorflow as tf

    loss = scalar_loss(model, task)

    @tf.function(reduce_retracing=True)
    def of_batch(x: Any, y: Any) -> Any:
        return loss(y, model(x, training=False))

    def over(batches: Iterable[tuple[Any, Any]]) -> float:
        total, samples = 0.0, 0
        for x, y in batches:
            count = len(tf.nest.flatten(x)[0])
            total += float(of_batch(x, y)) * count
            samples += count
        return total / max(samples, 1)

    return over
