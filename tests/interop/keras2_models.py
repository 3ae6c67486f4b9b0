"""Small tf_keras models for the tests, and the comparison with what they become."""

from __future__ import annotations

from typing import Any

import numpy as np


def layers() -> Any:
    from edgeprune.interop.packages import import_tf_keras

    return import_tf_keras().layers


def sequential(shape: tuple[int, ...], *parts: Any, dtype: str = "float32", **options: Any) -> Any:
    from edgeprune.interop.packages import import_tf_keras

    tf_keras = import_tf_keras()
    return with_random_weights(tf_keras.Sequential([tf_keras.layers.InputLayer(shape, dtype=dtype), *parts], **options))


def with_random_weights(model: Any) -> Any:
    """Fresh biases, statistics and scales are 0 or 1, which would hide a weight in the wrong place."""
    generator = np.random.default_rng(1)
    for variable in model.weights:
        if variable.dtype.is_floating and not any(word in variable.name for word in ("mask", "threshold", "centroid")):
            values = generator.normal(size=variable.shape) / 2
            variable.assign(np.abs(values) + 0.1 if "variance" in variable.name else values)
    return model


def inputs_for(model: Any, seed: int = 7) -> Any:
    """Random inputs with a zero step at the end of each sequence, so that masks matter."""
    import tensorflow as tf

    generator = np.random.default_rng(seed)
    values = []
    for tensor in model.inputs:
        shape = (3, *tensor.shape[1:])
        if tensor.dtype.is_floating:
            value = generator.normal(size=shape).astype(tensor.dtype.as_numpy_dtype)
            if len(shape) == 3:
                value[:, -1] = 0
        else:
            value = generator.integers(0, 4, shape).astype(tensor.dtype.as_numpy_dtype)
        values.append(tf.constant(value))
    return tf.nest.pack_sequence_as(model._nested_inputs, values)


def assert_equal_outputs(old: Any, new: Any, tolerance: float = 1e-5) -> None:
    import tensorflow as tf

    values = inputs_for(old)
    wanted = tf.nest.flatten(old(values, training=False))
    received = tf.nest.flatten(new(values, training=False))
    assert len(wanted) == len(received)
    for first, second in zip(wanted, received, strict=True):
        np.testing.assert_allclose(second.numpy(), first.numpy(), rtol=tolerance, atol=tolerance)
