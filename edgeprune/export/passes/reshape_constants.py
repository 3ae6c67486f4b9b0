"""Give constants of additions and multiplications rank 4, and write hard sigmoids with such constants.

XNNPACK's sparse clusters take additions and multiplications of rank-4 operands only; a Python number or a vector beside an image
becomes a constant of rank 0 or 1 in the file, and one such call (the 1/6 of MobileNetV3's squeeze-excite) turns sparse
kernels off for all that is connected to it. Hard swish needs nothing: the converter makes it one operation.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeprune.export.passes.layer_checks import is_a, is_linear, is_operation, layer_refusal
from edgeprune.export.passes.layer_graph import Call, LayerGraph, remade
from edgeprune.export.passes.report import PassReport, Refusal

NAME = "reshape_constants"
EXACTNESS = "exact; a division becomes a multiplication and may differ in the last bit"

_ARITHMETIC = ("Add", "Subtract", "Multiply", "Divide", "TrueDivide")
_WITH_ACTIVATION = ("Conv2D", "DepthwiseConv2D")


def refusal(graph: LayerGraph, call: Call) -> str | None:
    """Why an arithmetic call with a constant, or a Rescaling, keeps it as it is."""
    if is_a(call, "Rescaling"):
        scale_and_offset = (np.asarray(call.operation.scale), np.asarray(call.operation.offset))
        if any(value.ndim > 1 for value in scale_and_offset):
            return "its scale or offset differs from position to position"
        return layer_refusal(graph, call)
    constant = np.asarray(_constant(call))
    if constant.size > 1 and (constant.size != call.output.shape[-1] or constant.shape[-1] != constant.size):
        return f"its constant of shape {constant.shape} differs from position to position"
    if is_operation(call, "Divide", "TrueDivide") and _constant_first(call):
        return "it divides a constant by an image, which sparse kernels don't"
    return None


def run(graph: LayerGraph) -> PassReport:
    """Rewrite every such call behind the first convolution; in front of it nothing runs in a cluster."""
    changed, refusals = [], []
    inside = _behind_convolutions(graph)
    for call in inside:
        if len(call.output.shape) != 4:
            continue
        if _is_hard_sigmoid(call):
            _write_hard_sigmoid(graph, call)
        elif is_a(call, "Rescaling") or _has_low_constant(call):
            reason = refusal(graph, call)
            if reason is not None:
                refusals.append(Refusal(call.name, reason))
                continue
            graph.replace(call, _affine(graph, call, *_scale_and_offset(call)))
        else:
            continue
        changed.append(call.name)
    return PassReport(NAME, EXACTNESS, tuple(changed), tuple(refusals))


def _behind_convolutions(graph: LayerGraph) -> list[Call]:
    """The calls that read, directly or not, the output of a convolution; hard sigmoids inside one are among them."""
    made: list[Any] = []
    found = []
    for call in graph.calls:
        convolution = is_a(call, *_WITH_ACTIVATION)
        if convolution or any(read is tensor for read in call.tensors for tensor in made):
            made += call.outputs
            found.append(call)
    return found


def _is_hard_sigmoid(call: Call) -> bool:
    import keras

    if is_operation(call, "HardSigmoid"):
        return True
    return is_a(call, "Activation", *_WITH_ACTIVATION) and call.operation.activation is keras.activations.hard_sigmoid


def _write_hard_sigmoid(graph: LayerGraph, call: Call) -> None:
    """relu6(x + 3) / 6, as Keras defines it."""
    import keras

    tensor = call.tensors[0]
    if is_a(call, *_WITH_ACTIVATION):
        tensor = _with_bias(graph, call, 3.0, activation="linear")
    else:
        tensor = _plus(graph, call, tensor, 3.0)
    tensor = graph.insert(call, keras.ops.relu6, tensor)
    graph.replace(call, graph.insert(call, keras.ops.multiply, tensor, _rank4(1 / 6, tensor)))


def _has_low_constant(call: Call) -> bool:
    if not is_operation(call, *_ARITHMETIC) or len(call.args) != 2 or len(call.tensors) != 1:
        return False
    return np.ndim(_constant(call)) < 4 or is_operation(call, "Divide", "TrueDivide", "Subtract")


def _constant_first(call: Call) -> bool:
    import keras

    return not isinstance(call.args[0], keras.KerasTensor)


def _constant(call: Call) -> Any:
    return call.args[0] if _constant_first(call) else call.args[1]


def _scale_and_offset(call: Call) -> tuple[Any, Any]:
    """The call as scale x + offset; None for a scale of 1 or an offset of 0."""
    if is_a(call, "Rescaling"):
        scale, offset = np.asarray(call.operation.scale), np.asarray(call.operation.offset)
        return None if np.all(scale == 1) else scale, None if np.all(offset == 0) else offset
    constant = np.asarray(_constant(call))
    if is_operation(call, "Add"):
        return None, constant
    if is_operation(call, "Subtract"):
        return (-1.0, constant) if _constant_first(call) else (None, -constant)
    if is_operation(call, "Multiply"):
        return constant, None
    return 1 / constant.astype(np.float64), None


def _affine(graph: LayerGraph, call: Call, scale: Any, offset: Any) -> Any:
    import keras

    tensor = call.tensors[0]
    if scale is not None:
        tensor = graph.insert(call, keras.ops.multiply, tensor, _rank4(scale, tensor))
    if offset is not None:
        tensor = _plus(graph, call, tensor, offset)
    return tensor


def _plus(graph: LayerGraph, call: Call, tensor: Any, offset: Any) -> Any:
    """tensor + offset in front of a call: in the bias of the convolution that made the tensor for this call alone, else an
    addition. (A constant added behind a bias is also what TensorFlow's graph optimizer folds wrongly, 2.21.)"""
    import keras

    source = graph.producer(tensor)
    if (
        source is not None
        and is_a(source, *_WITH_ACTIVATION)
        and is_linear(source.operation)
        and graph.only_reader(tensor) is call
        and layer_refusal(graph, source) is None
    ):
        return _with_bias(graph, source, offset)
    return graph.insert(call, keras.ops.add, tensor, _rank4(offset, tensor))


def _with_bias(graph: LayerGraph, call: Call, offset: Any, **changes: Any) -> Any:
    """A new convolution in front of an old one, with the offset in its bias."""
    layer = call.operation
    new = remade(layer, use_bias=True, **changes)
    output = graph.insert(call, new, *call.tensors)
    kernel, *bias = layer.get_weights()
    new.set_weights([kernel, (bias[0] if bias else np.zeros(output.shape[-1], np.float32)) + np.float32(offset)])
    new.trainable = layer.trainable
    return output


def _rank4(value: Any, tensor: Any) -> np.ndarray:
    """(1, 1, 1, 1) or (1, 1, 1, channels), of the tensor's type."""
    return np.asarray(value, tensor.dtype).reshape(1, 1, 1, -1)
