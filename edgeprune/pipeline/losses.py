"""A model's loss as one scalar, for gradients outside `fit`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgeprune.task.resolve import Task


def scalar_loss(model: Any, task: Task) -> Callable[[Any, Any], Any]:
    """(labels, predictions) -> scalar tensor, for any loss that `compile` takes.

    The model's own compiled state stays untouched: a second model around the same graph holds the loss.
    """
    import keras

    holder = keras.Model(model.inputs, model.output)
    holder.compile(loss=task.loss, loss_weights=task.loss_weights, jit_compile=False)
    return lambda labels, predictions: holder.compute_loss(y=labels, y_pred=predictions)
