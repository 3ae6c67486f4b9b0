"""Choosing the one metric a model is judged by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeprune.data.labels import LabelKind
from edgeprune.data.loss_key import loss_key
from edgeprune.data.signature import Signature
from edgeprune.errors import InputError
from edgeprune.task.directions import direction_of
from edgeprune.task.loss import BINARY_LOSSES, CATEGORICAL_LOSSES, REGRESSION_LOSSES, SPARSE_LOSSES
from edgeprune.task.metric import KerasAccumulator, LossAccumulator, TaskMetric, metric_maker
from edgeprune.task.options import TaskOptions

_LOSS = "loss"


@dataclass(frozen=True)
class Candidate:
    """A metric as `compile` takes it, and the output (its number) it looks at."""

    identifier: Any
    output: int


@dataclass(frozen=True)
class Choice:
    """The chosen metric; (output, maker) of all metrics to watch in training; notes for the user."""

    metric: TaskMetric
    makers: tuple[tuple[int, Callable[[], Any]], ...]
    notes: tuple[str, ...]


def choose_metric(
    compiled: Sequence[Candidate],
    options: TaskOptions,
    losses: Sequence[Any],
    loss_weights: Sequence[float] | None,
    labels: tuple[np.ndarray, ...],
    kinds: Sequence[LabelKind],
    signature: Signature,
) -> Choice:
    """The first compiled metric (or the one `options.metric` names), else `options.metric`, else accuracy, binary
    accuracy or mean absolute error by loss and labels, else (several outputs) the total loss.

    Raises:
        InputError: unknown names, a metric of unknown direction, or one that can't be computed.
    """
    candidates, notes = list(compiled), []
    if not candidates and options.metric not in (None, _LOSS):
        candidates = _from_options(options.metric, signature)
    if not candidates and options.metric is None and len(losses) == 1:
        candidates = [Candidate(_default_metric(losses[0], labels[0], kinds[0], signature), 0)]
    makers = [
        (entry.output, metric_maker(entry.identifier, labels[entry.output], signature.outputs[entry.output].shape))
        for entry in candidates
    ]
    if not makers or options.metric == _LOSS:
        weights = list(loss_weights) if loss_weights else [1.0] * len(losses)
        total = TaskMetric(_LOSS, False, signature, lambda: LossAccumulator(losses, weights))
        return Choice(total, tuple(makers), ())
    names = [_logged_name(output, maker, signature) for output, maker in makers]
    chosen = 0
    if compiled and isinstance(options.metric, str):
        if options.metric in names:
            chosen = names.index(options.metric)
        else:
            notes.append(
                f'metric "{options.metric}" is not used: the model is compiled with {", ".join(names)}; '
                f"it is judged by {names[0]}"
            )
    elif len(losses) > 1 and len(names) > 1:
        notes.append(f"the model has several metrics and is judged by {names[0]}; choose another with metric")
    output, maker = makers[chosen]
    higher = direction_of(maker(), names[chosen], options.metric_higher_is_better)
    metric = TaskMetric(names[chosen], higher, signature, lambda: KerasAccumulator(maker(), output))
    _try_out(metric, labels, signature)
    return Choice(metric, tuple(makers), tuple(notes))


def _try_out(metric: TaskMetric, labels: tuple[np.ndarray, ...], signature: Signature) -> None:
    """Compute the metric on made-up predictions, so that one that can't take these labels fails before training."""
    from tensorflow.errors import OpError

    few = tuple(part[:2] for part in labels)
    predictions = []
    for part, port in zip(few, signature.outputs, strict=True):
        sizes = part.shape[1:] + (1,) * len(port.shape)
        shape = [sizes[axis] if size is None else size for axis, size in enumerate(port.shape)]
        predictions.append(np.full((len(part), *shape), 1.0 / max(1, shape[-1] if shape else 1), np.float32))
    try:
        metric.evaluate([signature.pack_outputs(few)], [signature.pack_outputs(predictions)])
    except (OpError, TypeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f'the metric "{metric.name}" can\'t be computed on these labels: {reason}; '
            "choose another with metric, or compile the model with one that fits"
        ) from error


def _from_options(metric: Any, signature: Signature) -> list[Candidate]:
    names = [port.name for port in signature.outputs]
    if len(names) == 1:
        return [Candidate(metric, 0)]
    if isinstance(metric, str):
        for output, name in enumerate(names):
            if metric.startswith(f"{name}_"):
                return [Candidate(metric.removeprefix(f"{name}_"), output)]
    raise InputError(
        f'metric is "{metric}", but the model has the outputs {", ".join(names)}; '
        f'write "<output>_<metric>", e.g. "{names[0]}_accuracy", or "loss" for the total loss'
    )


def _default_metric(loss: Any, labels: np.ndarray, kind: LabelKind, signature: Signature) -> Any:
    from keras import metrics

    key = loss_key(loss)
    if key in SPARSE_LOSSES | CATEGORICAL_LOSSES:
        return "accuracy"
    if key in REGRESSION_LOSSES or kind == "targets":
        return "mean_absolute_error"
    if key in BINARY_LOSSES or kind in ("binary", "multi_label"):
        # Keras's "accuracy" would compare logits with 0.5, and several 0/1 labels by their largest.
        threshold = 0.0 if getattr(loss, "from_logits", False) else 0.5
        name = "accuracy" if labels.shape[-1] == 1 else "binary_accuracy"
        return metrics.BinaryAccuracy(name=name, threshold=threshold)
    return "accuracy"


def _logged_name(output: int, maker: Callable[[], Any], signature: Signature) -> str:
    name = str(maker().name)
    return name if len(signature.outputs) == 1 else f"{signature.outputs[output].name}_{name}"
