"""The proof of a conversion: both models on the same random inputs."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from edgeprune.errors import InputError

_BATCH = 2
# Sizes to try where an input leaves one open; deep networks shrink their input up to 32 times.
_OPEN_SIZES = (32, 96, 4)
# Of the largest output. Sums in another order differ by less; a layer that computes something else, by more.
_TOLERANCE = {"float64": 1e-8, "float32": 1e-4, "float16": 3e-2, "bfloat16": 1e-1}


def check_equal(old: Any, new: Any) -> None:
    """Run a tf_keras and a Keras 3 model on the same inputs: normal values, 0 and 1 for integers, the last step of a
    sequence zero so that masks are used.

    Raises:
        InputError: the outputs differ, or the Keras 2 model can't be run at all.
    """
    import tensorflow as tf

    values, wanted = _run_old(old)
    try:
        received = tf.nest.flatten(new(_packed(new, values), training=False))
    except (ValueError, TypeError, tf.errors.OpError) as error:
        raise InputError(
            f"the Keras 3 model can't be run on what the Keras 2 model takes: {_one_line(error)}; "
            "rebuild the model in Keras 3 and load its weights layer by layer"
        ) from error
    half = any(getattr(part, "compute_dtype", "") in ("float16", "bfloat16") for part in old.submodules)
    name = _first_difference(old.output_names, wanted, received, 3e-2 if half else 0.0)
    if name is None:
        return
    if _first_difference(old.output_names, wanted, _run_old(old)[1], 0.0) is not None:
        raise InputError(
            f'the Keras 2 model gives random values at output "{name}"; '
            "call its Dropout and noise layers without training=True and save it again"
        )
    raise InputError(
        f'the Keras 3 model gives other values at output "{name}" than the Keras 2 model on random inputs; '
        "rebuild the model in Keras 3 and load its weights layer by layer"
    )


def _first_difference(names: list[str], first: list[Any], second: list[Any], tolerance: float) -> str | None:
    """The name of the first output that differs."""
    for name, one, other in zip(names, map(np.asarray, first), map(np.asarray, second), strict=True):
        limit = max(_TOLERANCE.get(one.dtype.name, 0.0), tolerance)
        if one.shape != other.shape or not _close(one, other, limit):
            return name
    return None


def _close(first: np.ndarray, second: np.ndarray, limit: float) -> bool:
    if first.dtype.name not in _TOLERANCE:
        return bool(np.array_equal(first, second))
    first, second = first.astype(np.float64), second.astype(np.float64)
    finite = np.abs(first[np.isfinite(first)])
    scale = float(finite.max()) if finite.size else 0.0
    return bool(np.allclose(second, first, rtol=0, atol=limit * scale + 1e-12, equal_nan=True))


def _run_old(model: Any) -> tuple[list[np.ndarray], list[Any]]:
    import tensorflow as tf

    failure: Exception | None = None
    sizes = _OPEN_SIZES if any(None in tensor.shape[1:] for tensor in model.inputs) else _OPEN_SIZES[:1]
    # An embedding takes whole numbers in whatever dtype its input has.
    for size, whole in itertools.product(sizes, (False, True)):
        values = [_random(tensor, size, whole) for tensor in model.inputs]
        packed = tf.nest.pack_sequence_as(getattr(model, "_nested_inputs", model.inputs[0]), values)
        try:
            return values, tf.nest.flatten(model(packed, training=False))
        except (ValueError, TypeError, tf.errors.OpError) as error:
            failure = error
    raise InputError(
        f"the Keras 2 model can't be run on random inputs, so its conversion can't be proved: "
        f"{_one_line(failure)}; give its inputs fixed sizes and save it again"
    ) from failure


def _random(tensor: Any, size: int, whole: bool) -> np.ndarray:
    generator = np.random.default_rng(0)
    first, *others = tensor.shape
    shape = (first or _BATCH, *(size if side is None else side for side in others))
    dtype = tensor.dtype.as_numpy_dtype
    if whole or not tensor.dtype.is_floating:
        return generator.integers(0, 2, shape).astype(dtype)
    values = generator.normal(size=shape).astype(dtype)
    if len(shape) == 3:
        values[:, -1] = 0
    return values


def _packed(model: Any, values: list[np.ndarray]) -> Any:
    import keras
    import tensorflow as tf

    tensors = [tf.convert_to_tensor(value) for value in values]
    if isinstance(model, keras.Sequential):
        return tensors[0]
    return keras.tree.pack_sequence_as(model.input, tensors)


def _one_line(error: object) -> str:
    return " ".join(str(error).split())[:200]
