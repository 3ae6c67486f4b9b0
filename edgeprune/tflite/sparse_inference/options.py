"""Options of an operation that XNNPACK's delegate refuses: TFLite's own kernel then runs it, outside any partition.

Source: the Visit...Node functions and CheckPoolingParams of tensorflow/lite/delegates/xnnpack/xnnpack_delegate.cc; each
rule was compared with the partitions that ai-edge-litert 1.2 to 2.3 build.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edgeprune.tflite.model import TfliteModel, dtype_name

_MOST_CONCATENATED = 5
_SMALLEST_SLOPE = float(np.finfo(np.float32).tiny)


def options_taken(model: TfliteModel, operator: Any, name: str) -> bool:
    """Whether XNNPACK takes an operation of this name with these options."""
    check = _CHECKS.get(name)
    return check is None or check(model, operator)


def _leaky_relu(model: TfliteModel, operator: Any) -> bool:
    """A slope of 0, or one too small for a normal float32, is refused."""
    return abs(float(getattr(operator.builtinOptions, "alpha", 0.0))) >= _SMALLEST_SLOPE


def _pooling(model: TfliteModel, operator: Any) -> bool:
    """A stride that leaves out pixels is refused."""
    options = operator.builtinOptions
    return (
        getattr(options, "strideH", 0) <= getattr(options, "filterHeight", 0)
        and getattr(options, "strideW", 0) <= getattr(options, "filterWidth", 0)
    )  # fmt: skip


def _softmax(model: TfliteModel, operator: Any) -> bool:
    return bool(getattr(operator.builtinOptions, "beta", 1.0) == 1.0)


def _concatenation(model: TfliteModel, operator: Any) -> bool:
    return 2 <= len(operator.inputs) <= _MOST_CONCATENATED


def _pad(model: TfliteModel, operator: Any) -> bool:
    return dtype_name(model.main.tensors[operator.inputs[1]]) == "int32"


def _strided_slice(model: TfliteModel, operator: Any) -> bool:
    """Every stride must be 1, and no axis come or go."""
    masks = ("ellipsisMask", "newAxisMask", "shrinkAxisMask")
    if any(getattr(operator.builtinOptions, mask, 0) for mask in masks):
        return False
    strides = model.main.tensors[operator.inputs[3]]
    data = model.constant(strides)
    kind = {"int32": "<i4", "int64": "<i8"}.get(dtype_name(strides))
    if data is None or kind is None or len(data) % np.dtype(kind).itemsize:
        return False
    return bool((np.frombuffer(data.tobytes(), kind) == 1).all())


_CHECKS: dict[str, Callable[[TfliteModel, Any], bool]] = {
    "LEAKY_RELU": _leaky_relu,
    "AVERAGE_POOL_2D": _pooling,
    "MAX_POOL_2D": _pooling,
    "SOFTMAX": _softmax,
    "CONCATENATION": _concatenation,
    "PAD": _pad,
    "STRIDED_SLICE": _strided_slice,
}
