"""Which quantization a TFLite file uses, read from what its heavy operations compute on."""

from __future__ import annotations

from typing import Any, Literal

from edgeprune.tflite.model import TfliteModel, dtype_name

Quantization = Literal["none", "float16", "dynamic", "int8", "mixed"]

# Operation -> positions of (activation, weight) among its inputs
WEIGHTED_OPS = {
    "CONV_2D": (0, 1),
    "DEPTHWISE_CONV_2D": (0, 1),
    "FULLY_CONNECTED": (0, 1),
    "BATCH_MATMUL": (0, 1),
    "CONV_3D": (0, 1),
    "TRANSPOSE_CONV": (2, 1),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": (0, 1),
}
_INTEGERS = ("int8", "uint8", "int16", "int4")


def quantization_of(model: TfliteModel) -> Quantization:
    """The mode of the whole file.

    "dynamic": integer weights, float activations. "int8": both integer. Float32 weights beside float16 or
    dynamic ones do not make a file mixed: converters leave small tensors alone. Float32 beside full int8 does.
    """
    modes = {
        mode
        for operator, name in zip(model.main.operators, model.op_names, strict=True)
        for mode in (operation_mode(model, operator, name),)
        if mode is not None
    }
    if not modes:
        integer = any(dtype_name(tensor) in ("int8", "uint8") for tensor in model.main.tensors)
        return "int8" if integer else "none"
    if modes <= {"none", "float16"} or modes <= {"none", "dynamic"}:
        return max(modes, key=("none", "float16", "dynamic").index)
    return "int8" if modes == {"int8"} else "mixed"


def operation_mode(model: TfliteModel, operator: Any, name: str) -> Quantization | None:
    """The mode of one operation of the main subgraph; None where it has no stored weight."""
    places = WEIGHTED_OPS.get(name)
    if places is None or len(operator.inputs) <= max(places) or min(operator.inputs[place] for place in places) < 0:
        return None
    activation = model.main.tensors[operator.inputs[places[0]]]
    weight = model.stored_weight(int(operator.inputs[places[1]]))
    if weight is None:
        return None
    if dtype_name(weight) in _INTEGERS:
        return "int8" if dtype_name(activation) in _INTEGERS else "dynamic"
    return "float16" if dtype_name(weight) == "float16" else "none"
