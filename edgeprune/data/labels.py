"""How labels are laid out against an output, and what kind of labels they are.

Keras accepts class labels as (n,), (n, 1) or one-hot (n, classes), and silently broadcasts what it should refuse.
Everything after loading sees one form per case: whole class numbers without a class axis (int32), or values with
exactly the output's shape (float32).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from edgeprune.data.signature import Port, shapes_agree

LabelKind = Literal["classes", "one_hot", "distribution", "binary", "multi_label", "targets"]


@dataclass(frozen=True)
class LabelLayout:
    """How raw labels become batches for one output.

    classes: the values are class numbers (int32); else they have the output's shape (float32).
    change: the axis edit that gets there.
    """

    classes: bool
    change: Literal["none", "squeeze", "expand"] = "none"


def layout_of(shape: tuple[int | None, ...], port: Port) -> LabelLayout | None:
    """The layout of labels of `shape` (without the batch axis) for an output; None when they can't fit it."""
    width = port.shape[-1] if port.shape else None
    if shapes_agree(shape, port.shape):
        return LabelLayout(classes=False)
    if not port.shape:
        return LabelLayout(classes=False, change="squeeze") if shape == (1,) else None
    if width == 1:
        return LabelLayout(classes=False, change="expand") if shapes_agree(shape, port.shape[:-1]) else None
    if shapes_agree(shape, port.shape[:-1]):
        return LabelLayout(classes=True)
    if len(shape) == len(port.shape) and shape[-1] == 1 and shapes_agree(shape[:-1], port.shape[:-1]):
        return LabelLayout(classes=True, change="squeeze")
    return None


def conform(y: np.ndarray, layout: LabelLayout) -> np.ndarray:
    """A batch of raw labels in its final form: int32 class numbers or float32 values."""
    if layout.change == "squeeze":
        y = y[..., 0]
    elif layout.change == "expand":
        y = y[..., None]
    return np.asarray(y, dtype=np.int32 if layout.classes else np.float32)


def kind_of(y: np.ndarray, port: Port) -> LabelKind:
    """What conformed labels (see `conform`) mean for an output. Needs a fair sample: values decide.

    classes: class numbers. one_hot: rows with a single 1. distribution: rows of fractions that add up to 1 for
    a softmax output. binary: 0 and 1 for an output of width 1. multi_label: 0 and 1, any number per row.
    targets: anything else (regression).
    """
    if y.ndim < len(port.shape) + 1:
        return "classes"
    width = port.shape[-1] if port.shape else 1
    zero_one = bool(np.all((y == 0) | (y == 1)))
    if width == 1:
        return "binary" if zero_one and port.activation != "softmax" else "targets"
    sums = y.sum(axis=-1)
    if zero_one:
        return "one_hot" if bool(np.all(sums == 1)) else "multi_label"
    if port.activation == "softmax" and bool(np.all(y >= 0)) and bool(np.allclose(sums, 1.0, atol=1e-3)):
        return "distribution"
    return "targets"


def class_numbers(y: np.ndarray, port: Port) -> np.ndarray | None:
    """(n,) int class numbers of conformed labels, to keep classes balanced; None where samples have no single class."""
    kind = kind_of(y, port)
    if kind == "classes" and y.ndim == 1:
        return np.asarray(y, dtype=np.int64)
    if kind == "one_hot" and y.ndim == 2:
        return np.asarray(np.argmax(y, axis=1), dtype=np.int64)
    if kind == "binary" and y.ndim == 2:
        return np.asarray(y[:, 0], dtype=np.int64)
    return None
