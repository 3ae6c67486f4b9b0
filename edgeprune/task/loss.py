"""The loss of one output: found by name, inferred from labels, and checked against them."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeprune.data.labels import LabelKind
from edgeprune.data.loss_key import loss_key
from edgeprune.data.signature import Port
from edgeprune.errors import InputError, nearest

SPARSE_LOSSES = frozenset({"sparsecategoricalcrossentropy"})
BINARY_LOSSES = frozenset({"binarycrossentropy", "binaryfocalcrossentropy"})
CATEGORICAL_LOSSES = frozenset({"categoricalcrossentropy", "categoricalfocalcrossentropy"})
REGRESSION_LOSSES = frozenset(
    {
        "huber",
        "logcosh",
        "meanabsoluteerror",
        "meanabsolutepercentageerror",
        "meansquarederror",
        "meansquaredlogarithmicerror",
    }
)
# Losses that compare values one by one; Keras would silently broadcast class numbers against them.
_SAME_SHAPE = (
    BINARY_LOSSES
    | CATEGORICAL_LOSSES
    | REGRESSION_LOSSES
    | {"categoricalhinge", "cosinesimilarity", "dice", "hinge", "kldivergence", "poisson", "squaredhinge", "tversky"}
)


def resolve_loss(loss: Any, labels: np.ndarray, kind: LabelKind, port: Port) -> Any:
    """A loss function or object for what the user or the compiled model names, checked against the labels.

    labels: a fair sample, conformed (see data.labels). None infers the loss.

    Raises:
        InputError: the name is unknown, or the loss can't be computed on such labels.
    """
    if loss is None or loss_key(loss) == "crossentropy":
        return infer_loss(kind if loss is None else _as_classification(kind), port)
    if isinstance(loss, str):
        loss = _by_name(loss)
    check_loss(loss, labels, kind, port)
    return loss


def infer_loss(kind: LabelKind, port: Port) -> Any:
    """The usual loss for labels of a kind; takes logits where the output has no softmax or sigmoid."""
    from keras import losses

    if kind == "classes":
        return losses.SparseCategoricalCrossentropy(from_logits=port.activation != "softmax")
    if kind in ("one_hot", "distribution") and port.activation != "sigmoid":
        return losses.CategoricalCrossentropy(from_logits=port.activation != "softmax")
    if kind == "targets":
        return losses.MeanSquaredError()
    return losses.BinaryCrossentropy(from_logits=port.activation not in ("sigmoid", "softmax"))


def check_loss(loss: Any, labels: np.ndarray, kind: LabelKind, port: Port) -> None:
    """Raises InputError when Keras would fail on these labels, or worse, broadcast them."""
    key = loss_key(loss)
    shape = ", ".join(["n", *map(str, labels.shape[1:])]) + ("," if labels.ndim == 1 else "")
    received = f'the labels of output "{port.name}" have shape ({shape})'
    if key in SPARSE_LOSSES and kind != "classes":
        raise InputError(
            f"the loss sparse_categorical_crossentropy needs class numbers, but {received}, like the output; "
            "give y.argmax(-1), or compile the model with categorical_crossentropy"
        )
    if key in _SAME_SHAPE and kind == "classes":
        width = port.shape[-1]
        raise InputError(
            f"the loss {_shown(loss)} needs labels of the output's shape (n, {', '.join(map(str, port.shape))}), "
            f"but {received} (class numbers); give keras.utils.to_categorical(y, {width}), "
            "or compile the model with sparse_categorical_crossentropy"
        )
    if key in BINARY_LOSSES and (labels.min() < 0 or labels.max() > 1):
        raise InputError(
            f'the loss {_shown(loss)} needs labels between 0 and 1; output "{port.name}" has '
            f"{labels.min():g}..{labels.max():g}; give 0/1 labels, or compile the model with a regression loss"
        )


def _as_classification(kind: LabelKind) -> LabelKind:
    return "binary" if kind == "targets" else kind


def _by_name(name: str) -> Any:
    from keras import losses

    try:
        return losses.get(name)
    except ValueError as error:
        known = [entry for entry in dir(losses) if not entry.startswith("_") and entry not in ("get", "serialize")]
        raise InputError(
            f'there is no Keras loss "{name}"; {nearest(name, known)}; set loss to a Keras name'
        ) from error


def _shown(loss: Any) -> str:
    return getattr(loss, "__name__", None) or str(getattr(loss, "name", type(loss).__name__))
