"""Take constants out of additions and multiplications with images, and write hard sigmoids without them.

A Python number or a vector beside an image becomes a constant of rank 0 or 1 in the file, and XNNPACK's sparse clusters
take neither: the 1/6 of MobileNetV3's squeeze-excite turns sparse kernels off for all that is connected to it.
affine.py says where such constants go. Hard swish needs nothing: the converter makes it one operation.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeprune.export.passes.affine import AFFINE_LAYERS, affine, with_affine
from edgeprune.export.passes.layer_checks import is_a, is_operation, layer_refusal
from edgeprune.export.passes.layer_graph import Call, LayerGraph
from edgeprune.export.passes.report import PassReport, Refusal

NAME = "reshape_constants"
EXACTNESS = "exact; a division becomes a multiplication and may differ in the last bit"

_ARITHMETIC = ("Add", "Subtract", "Multiply", "Divide", "TrueDivide")


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
    if call.output.shape != call.tensors[0].shape:
        return "its constant makes the value larger"
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
        elif is_a(call, "Rescaling") or _has_constant(call):
            reason = refusal(graph, call)
            if reason is not None:
                refusals.append(Refusal(call.name, reason))
                continue
            graph.replace(call, affine(graph, call, call.tensors[0], *_scale_and_offset(call)))
        else:
            continue
        changed.append(call.name)
    return PassReport(NAME, EXACTNESS, tuple(changed), tuple(refusals))


def _behind_convolutions(graph: LayerGraph) -> list[Call]:
    """The calls that read, directly or not, the output of a convolution; hard sigmoids inside one are among them."""
    made: list[Any] = []
    found = []
    for call in graph.calls:
        convolution = is_a(call, *AFFINE_LAYERS)
        if convolution or any(read is tensor for read in call.tensors for tensor in made):
            made += call.outputs
            found.append(call)
    return found


def _is_hard_sigmoid(call: Call) -> bool:
    import keras

    if is_operation(call, "HardSigmoid"):
        return True
    return is_a(call, "Activation", *AFFINE_LAYERS) and call.operation.activation is keras.activations.hard_sigmoid


def _write_hard_sigmoid(graph: LayerGraph, call: Call) -> None:
    """relu6(x + 3) / 6, as Keras defines it."""
    import keras

    tensor = call.tensors[0]
    if is_a(call, *AFFINE_LAYERS):
        tensor = with_affine(graph, call, None, 3.0, activation="linear")
    else:
        tensor = affine(graph, call, tensor, None, 3.0)
    tensor = graph.insert(call, keras.ops.relu6, tensor)
    graph.replace(call, affine(graph, call, tensor, 1 / 6, None))


def _has_constant(call: Call) -> bool:
    if not is_operation(call, *_ARITHMETIC) or len(call.args) != 2 or len(call.tensors) != 1:
        return False
    pooled = tuple(call.output.shape[1:3]) == (1, 1)
    return not pooled or np.ndim(_constant(call)) < 4 or is_operation(call, "Divide", "TrueDivide", "Subtract")


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
