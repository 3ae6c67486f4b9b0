"""TensorFlow functions in a Keras 2 graph (TFOpLambda, SlicingOpLambda) become Keras 3 operations.

Each rule has the parameters of the TensorFlow function that it stands for and yields one Keras operation. A parameter
that a rule doesn't take, or a value that it can't keep, is an error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edgeprune.errors import InputError


class _Unsupported(Exception):
    """A value that changes what the TensorFlow function computes in a way that Keras's operation can't."""


def apply_op(layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Do what the Keras 2 op layer does, on Keras 3 tensors; the operation gets the layer's name.

    Raises:
        InputError: the function or its arguments have no translation.
    """
    symbol = layer.get_config()["function"]
    if symbol not in OPS:
        raise no_op(layer.name, symbol)
    kwargs = {key: value for key, value in kwargs.items() if key != "name"}
    try:
        result = OPS[symbol](*args, **kwargs)
    except (_Unsupported, TypeError, ValueError, AttributeError) as error:
        raise no_op(layer.name, symbol, " ".join(str(error).split())[:150]) from error
    result._keras_history.operation.name = layer.name.replace("/", "_")
    return result


def no_op(name: str, symbol: str, why: str = "") -> InputError:
    """The error for a function that can't become a Keras 3 operation."""
    reason = f": {why}" if why else ""
    return InputError(
        f'layer "{name}" (TFOpLambda) calls tf.{symbol}, which has no translation to Keras 3 here{reason}; '
        "replace it with a Keras layer, such as Add, Multiply, Reshape or Concatenate"
    )


def _binary(name: str) -> Callable[..., Any]:
    def rule(x: Any, y: Any) -> Any:
        import keras

        tensor = x if isinstance(x, keras.KerasTensor) else y
        return getattr(keras.ops, name)(_operand(x, tensor.dtype), _operand(y, tensor.dtype))

    return rule


def _unary(name: str) -> Callable[..., Any]:
    def rule(x: Any = None, features: Any = None) -> Any:
        import keras

        return getattr(keras.ops, name)(features if x is None else x)

    return rule


def _reduction(name: str) -> Callable[..., Any]:
    def rule(input_tensor: Any, axis: Any = None, keepdims: bool = False) -> Any:
        import keras

        # A number or a list of numbers; TensorFlow also takes arrays.
        axes = None if axis is None else np.asarray(axis).tolist()
        return getattr(keras.ops, name)(
            input_tensor, axis=tuple(axes) if isinstance(axes, list) else axes, keepdims=bool(keepdims)
        )

    return rule


def _operand(value: Any, dtype: str) -> Any:
    """A constant in the dtype of the tensor beside it, as TensorFlow takes it; Python numbers adapt by themselves."""
    import keras

    if isinstance(value, (keras.KerasTensor, int, float)):
        return value
    array = np.asarray(value)
    if array.ndim == 0:
        return array.item()
    return array.astype(dtype)


def _softmax(logits: Any, axis: int | None = None) -> Any:
    import keras

    return keras.ops.softmax(logits, axis=-1 if axis is None else int(axis))


def _gelu(features: Any, approximate: bool = False) -> Any:
    import keras

    return keras.ops.gelu(features, approximate=bool(approximate))


def _leaky_relu(features: Any, alpha: float = 0.2) -> Any:
    import keras

    return keras.ops.leaky_relu(features, negative_slope=float(alpha))


def _silu(features: Any, beta: float = 1.0) -> Any:
    import keras

    if beta != 1.0:
        raise _Unsupported(f"beta={beta}")
    return keras.ops.silu(features)


def _clip(t: Any, clip_value_min: Any, clip_value_max: Any) -> Any:
    import keras

    return keras.ops.clip(t, float(clip_value_min), float(clip_value_max))


def _reshape(tensor: Any, shape: Any) -> Any:
    import keras

    return keras.ops.reshape(tensor, _sizes(shape))


def _transpose(a: Any, perm: Any = None, conjugate: bool = False) -> Any:
    import keras

    if conjugate:
        raise _Unsupported("conjugate=True")
    return keras.ops.transpose(a, None if perm is None else _sizes(perm))


def _expand_dims(input: Any, axis: Any) -> Any:
    import keras

    return keras.ops.expand_dims(input, int(axis))


def _squeeze(input: Any, axis: Any = None, name: Any = None, squeeze_dims: Any = None) -> Any:
    import keras

    if squeeze_dims is not None:
        raise _Unsupported("squeeze_dims")
    axes = None if axis is None or (isinstance(axis, (list, tuple)) and not axis) else np.asarray(axis).tolist()
    return keras.ops.squeeze(input, axis=tuple(axes) if isinstance(axes, list) else axes)


def _matmul(a: Any, b: Any) -> Any:
    import keras

    tensor = a if isinstance(a, keras.KerasTensor) else b
    return keras.ops.matmul(_operand(a, tensor.dtype), _operand(b, tensor.dtype))


def _pad(tensor: Any, paddings: Any, mode: str = "CONSTANT", name: Any = None, constant_values: Any = 0) -> Any:
    import keras

    if mode.upper() != "CONSTANT" or np.any(constant_values):
        raise _Unsupported(f"mode={mode}, constant_values={constant_values}")
    return keras.ops.pad(tensor, np.asarray(paddings).tolist())


def _resize(images: Any, size: Any, method: str = "bilinear") -> Any:
    import keras

    return keras.ops.image.resize(images, _sizes(size), interpolation=str(method), data_format="channels_last")


def _concat(values: Any, axis: Any) -> Any:
    import keras

    dtype = next(value.dtype for value in values if isinstance(value, keras.KerasTensor))
    return keras.ops.concatenate([_operand(value, dtype) for value in values], axis=int(axis))


def _stack(values: Any, axis: Any = 0) -> Any:
    import keras

    dtype = next(value.dtype for value in values if isinstance(value, keras.KerasTensor))
    return keras.ops.stack([_operand(value, dtype) for value in values], axis=int(axis))


def _cast(x: Any, dtype: Any) -> Any:
    import keras
    import tensorflow as tf

    return keras.ops.cast(x, tf.as_dtype(dtype).name)


def _getitem(a: Any, slice_spec: Any) -> Any:
    entries = tuple(slice_spec) if isinstance(slice_spec, (list, tuple)) else (slice_spec,)
    return a[tuple(_slice(entry) for entry in entries)]


def _slice(entry: Any) -> Any:
    if isinstance(entry, dict):
        return slice(*(_whole(entry[key]) for key in ("start", "stop", "step")))
    return _whole(entry)


def _whole(value: Any) -> Any:
    if value is None or value is Ellipsis:
        return value
    array = _array(value)
    if array.ndim or array.dtype.kind not in "iu":
        raise _Unsupported(f"an index that is not a whole number: {value!r}")
    return array.item()


def _sizes(values: Any) -> tuple[int, ...]:
    array = _array(values)
    if array.dtype.kind not in "iu":
        raise _Unsupported(f"sizes that are not whole numbers: {values!r}")
    return tuple(array.tolist())


def _array(value: Any) -> np.ndarray:
    import keras

    if any(isinstance(part, keras.KerasTensor) for part in keras.tree.flatten(value)):
        raise _Unsupported("an argument that depends on the input")
    return np.asarray(value)


# The canonical names of TensorFlow's functions, as tf_keras writes them.
OPS: dict[str, Callable[..., Any]] = {
    "__operators__.add": _binary("add"),
    "__operators__.getitem": _getitem,
    "cast": _cast,
    "clip_by_value": _clip,
    "compat.v1.pad": _pad,
    "compat.v1.squeeze": _squeeze,
    "compat.v1.transpose": _transpose,
    "concat": _concat,
    "expand_dims": _expand_dims,
    "image.resize": _resize,
    "linalg.matmul": _matmul,
    "math.abs": _unary("absolute"),
    "math.add": _binary("add"),
    "math.divide": _binary("divide"),
    "math.exp": _unary("exp"),
    "math.log": _unary("log"),
    "math.maximum": _binary("maximum"),
    "math.minimum": _binary("minimum"),
    "math.multiply": _binary("multiply"),
    "math.negative": _unary("negative"),
    "math.pow": _binary("power"),
    "math.reduce_max": _reduction("max"),
    "math.reduce_mean": _reduction("mean"),
    "math.reduce_min": _reduction("min"),
    "math.reduce_sum": _reduction("sum"),
    "math.rsqrt": _unary("rsqrt"),
    "math.sigmoid": _unary("sigmoid"),
    "math.softplus": _unary("softplus"),
    "math.sqrt": _unary("sqrt"),
    "math.square": _unary("square"),
    "math.subtract": _binary("subtract"),
    "math.tanh": _unary("tanh"),
    "math.truediv": _binary("divide"),
    "nn.elu": _unary("elu"),
    "nn.gelu": _gelu,
    "nn.leaky_relu": _leaky_relu,
    "nn.relu": _unary("relu"),
    "nn.relu6": _unary("relu6"),
    "nn.selu": _unary("selu"),
    "nn.silu": _silu,
    "nn.softmax": _softmax,
    "nn.softsign": _unary("softsign"),
    "reshape": _reshape,
    "squeeze": _squeeze,
    "stack": _stack,
    "transpose": _transpose,
}
