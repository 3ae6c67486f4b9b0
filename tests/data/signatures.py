"""Hand-made signatures, so that tests of data need no TensorFlow."""

from __future__ import annotations

from edgeprune.data.signature import Port, Signature


def classifier(shape=(4,), classes=3, **output) -> Signature:
    """One input, one softmax output with `classes` values."""
    return Signature((Port("x", shape, "float32"),), (Port("label", (classes,), "float32", "softmax", **output),))


def regressor(shape=(4,), activation="linear") -> Signature:
    """One input, one value per sample."""
    return Signature((Port("x", shape, "float32"),), (Port("value", (1,), "float32", activation),))


def two_by_two(by_name=False) -> Signature:
    """Inputs `left` (2,) and `right` (3,), outputs `kind` (4 classes) and `age` (1 value)."""
    return Signature(
        (Port("left", (2,), "float32"), Port("right", (3,), "float32")),
        (Port("kind", (4,), "float32", "softmax"), Port("age", (1,), "float32", "linear")),
        inputs_by_name=by_name,
    )
