"""The metric a model is judged by, computed on numpy arrays from whatever runtime."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from edgeprune.data.signature import Signature
from edgeprune.errors import InputError, nearest

_ACCURACY = ("acc", "accuracy")


class Accumulator(Protocol):
    """Adds up a metric over batches of per-output arrays."""

    def add(self, y_true: tuple[np.ndarray, ...], y_pred: tuple[np.ndarray, ...]) -> None:
        """Take in one batch."""

    def result(self) -> float:
        """The metric over all batches so far."""


@dataclass(frozen=True)
class TaskMetric:
    """A metric on labels and predictions.

    Attributes:
        name: as `fit` logs it ("val_" + name on validation data).
        higher_is_better: the direction.
        signature: of the model.
        start: makes an empty accumulator.
    """

    name: str
    higher_is_better: bool
    signature: Signature
    start: Callable[[], Accumulator]

    def evaluate(self, y_true: Iterable[Any], y_pred: Iterable[Any]) -> float:
        """The metric over batches of labels and of predictions, in step.

        A batch is one array, or for several outputs a tuple in output order or a dictionary by name; labels as a Split
        gives them, predictions (n, *output shape).

        Raises:
            InputError: the metric isn't one number.
            ValueError: there are no batches, or not as many of one as of the other.
        """
        accumulator = self.start()
        batches = 0
        for labels, predictions in zip(y_true, y_pred, strict=True):
            accumulator.add(
                tuple(np.asarray(part) for part in self.signature.flat_outputs(labels)),
                tuple(np.asarray(part, dtype=np.float32) for part in self.signature.flat_outputs(predictions)),
            )
            batches += 1
        if batches == 0:
            raise ValueError("a metric needs at least one batch")
        return accumulator.result()


class KerasAccumulator:
    """A Keras metric on one output."""

    def __init__(self, metric: Any, output: int) -> None:
        self._metric = metric
        self._output = output
        metric.reset_state()

    def add(self, y_true: tuple[np.ndarray, ...], y_pred: tuple[np.ndarray, ...]) -> None:
        """See Accumulator."""
        self._metric.update_state(y_true[self._output], y_pred[self._output])

    def result(self) -> float:
        """See Accumulator."""
        value = self._metric.result()
        if isinstance(value, dict) or np.size(value) != 1:
            raise InputError(
                f'the metric "{self._metric.name}" gives several numbers, not one; use an averaged form '
                '(e.g. F1Score(average="macro")), or choose another with metric'
            )
        return float(np.reshape(np.asarray(value), ()))


class LossAccumulator:
    """The weighted sum of the losses of all outputs, averaged over samples (without regularization terms)."""

    def __init__(self, losses: Sequence[Any], weights: Sequence[float]) -> None:
        self._losses = losses
        self._weights = weights
        self._total = 0.0
        self._samples = 0

    def add(self, y_true: tuple[np.ndarray, ...], y_pred: tuple[np.ndarray, ...]) -> None:
        """See Accumulator."""
        count = len(y_pred[0])
        for loss, weight, labels, predictions in zip(self._losses, self._weights, y_true, y_pred, strict=True):
            if loss is not None:
                self._total += count * weight * float(np.mean(np.asarray(loss(labels, predictions))))
        self._samples += count

    def result(self) -> float:
        """See Accumulator."""
        return self._total / self._samples


def metric_maker(identifier: Any, y_true: np.ndarray, output_shape: tuple[int | None, ...]) -> Callable[[], Any]:
    """A function that makes an empty Keras metric, named as Keras would name it.

    identifier: what `compile` takes: a name, a function or a Metric. "accuracy" means binary, categorical or sparse
    categorical accuracy by the shapes, by Keras's own rule. y_true: a batch of labels. output_shape: without batch.

    Raises:
        InputError: there is no metric of that name.
    """
    from keras import metrics

    if isinstance(identifier, metrics.Metric):
        return lambda: _cloned(identifier)
    if isinstance(identifier, str):
        name = identifier
        if identifier.lower() in _ACCURACY:
            chosen = _accuracy_class(y_true, output_shape)
            return lambda: chosen(name=name)
        try:
            made = metrics.get(identifier)
        except (ValueError, TypeError) as error:
            known = [entry for entry in dir(metrics) if not entry.startswith("_") and entry not in ("get", "serialize")]
            raise InputError(
                f'"{identifier}" is no Keras metric that works by name; {nearest(identifier, known)}; set metric to one'
            ) from error
        if isinstance(made, metrics.Metric):
            made.name = name
            return lambda: _renamed(type(made)(), name)
        identifier = made
    elif isinstance(identifier, type) and issubclass(identifier, metrics.Metric):
        return lambda: identifier()
    else:
        name = getattr(identifier, "__name__", None) or type(identifier).__name__
    return lambda: metrics.MeanMetricWrapper(identifier, name=name)


def _accuracy_class(y_true: np.ndarray, output_shape: tuple[int | None, ...]) -> Any:
    from keras import metrics

    width = output_shape[-1] if output_shape else 1
    if width == 1:
        return metrics.BinaryAccuracy
    if y_true.ndim < len(output_shape) + 1 or y_true.shape[-1] == 1:
        return metrics.SparseCategoricalAccuracy
    return metrics.CategoricalAccuracy


def _renamed(metric: Any, name: str) -> Any:
    metric.name = name
    return metric


def _cloned(metric: Any) -> Any:
    """A metric of the same settings; the metric itself where its class can't be made from its settings."""
    try:
        return type(metric).from_config(metric.get_config())
    except (NotImplementedError, TypeError, ValueError):
        # Such a metric still works for one evaluation at a time, since its state is reset first.
        return metric
