"""What a single node allows: the rules of xnn_check_nchw_compatibility in XNNPACK's src/subgraph.c."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Flag, auto

from edgeprune.tflite.model import dtype_name
from edgeprune.tflite.sparse_inference.nodes import Graph, Node, Pads


class Layout(Flag):
    """STARTS: reads NHWC, writes NCHW (the stem). NCHW: can do both in NCHW. ENDS: reads NCHW, writes NHWC."""

    NONE = 0
    STARTS = auto()
    NCHW = auto()
    ENDS = auto()


@dataclass(frozen=True)
class Refusal:
    """Why a node has no place in a cluster. rule: a key of `mends.MENDS`."""

    rule: str
    reason: str


def compatibility(graph: Graph, node: Node) -> Layout | Refusal:
    """The part a node can take in a cluster, or the first rule that it breaks."""
    other = next((tensor for tensor in (*node.inputs, *node.outputs) if not graph.is_float(tensor)), None)
    if other is not None:
        return Refusal("data-type", f"it computes on {dtype_name(graph.model.main.tensors[other])} values")
    check = {
        "convolution": _convolution,
        "depthwise": _depthwise,
        "binary": _binary,
        "unary": _four_dimensions,
        "reduce": _reduce,
        "resize": _resize,
    }.get(node.kind)
    if check is not None:
        return check(graph, node)
    return {"depth_to_space": Layout.ENDS, "dense": Layout.NCHW}.get(node.kind) or _other(node)


def _other(node: Node) -> Refusal:
    if node.name in ("AVERAGE_POOL_2D", "MAX_POOL_2D"):
        return Refusal("pooling", f"{node.name} has no sparse form")
    return Refusal("reshape" if node.name == "RESHAPE" else "operation", f"{node.name} has no sparse form")


def _convolution(graph: Graph, node: Node) -> Layout | Refusal:
    if node.groups != 1:
        return Refusal("groups", f"it has {node.groups} groups; only 1 is accepted")
    if node.dilation != (1, 1):
        return Refusal("dilation", f"its dilation is {_pair(node.dilation)}; only 1x1 is accepted")
    if node.kernel == (1, 1):
        if any(node.padding):
            return Refusal(
                "convolution-stride", f"its 1x1 kernel has padding {_pads(node.padding)}; only none is accepted"
            )
        if node.stride != (1, 1):
            return Refusal("convolution-stride", f"its 1x1 kernel has stride {_pair(node.stride)}; only 1 is accepted")
        return Layout.NCHW
    if node.kernel != (3, 3):
        return Refusal("convolution-kernel", f"its kernel is {_pair(node.kernel)}; only 1x1, and 3x3 in the stem, are")
    if node.stride != (2, 2):
        return Refusal("convolution-kernel", f"its 3x3 kernel has stride {_pair(node.stride)}; only 2 is accepted")
    if node.same or node.padding != (1, 1, 1, 1):
        return Refusal("stem-padding", f"its padding is {_padding(node)}; only 1 on all four sides is accepted")
    shape = graph.shape(node.inputs[0])
    if shape[3:] != (3,):
        return Refusal("stem-channels", f"its 3x3 kernel reads an input of shape {shape}; only 3 channels are accepted")
    return Layout.STARTS


def _depthwise(graph: Graph, node: Node) -> Layout | Refusal:
    if node.dilation != (1, 1):
        return Refusal("dilation", f"its dilation is {_pair(node.dilation)}; only 1x1 is accepted")
    if node.same:
        return Refusal(
            "depthwise-padding", f"its padding is {_padding(node)}; only explicit, symmetric padding is accepted"
        )
    if node.multiplier != 1:
        return Refusal("depthwise-multiplier", f"its depth multiplier is {node.multiplier}; only 1 is accepted")
    if node.stride not in ((1, 1), (2, 2)):
        return Refusal("depthwise-stride", f"its stride is {_pair(node.stride)}; only 1 and 2 are accepted")
    if node.kernel not in ((3, 3), (5, 5)):
        return Refusal("depthwise-kernel", f"its kernel is {_pair(node.kernel)}; only 3x3 and 5x5 are accepted")
    wanted = node.kernel[0] // 2
    if node.padding != (wanted,) * 4:
        kernel = _pair(node.kernel)
        return Refusal(
            "depthwise-padding",
            f"its padding is {_padding(node)}; only {wanted} on all four sides is accepted for {kernel}",
        )
    return Layout.NCHW


def _binary(graph: Graph, node: Node) -> Layout | Refusal:
    first, second = node.inputs
    for tensor in (first, second):
        rank = len(graph.shape(tensor))
        if rank != 4:
            what = "constant" if tensor in graph.static else "operand"
            return Refusal(
                "operand-rank" if tensor in graph.static else "rank", f"its {what} has rank {rank}; only 4 is accepted"
            )
    wide = sum(size != 1 for size in graph.shape(first))
    if first in graph.static and wide > 1:
        return Refusal(
            "constant-shape", f"its constant {graph.shape(first)} varies along {wide} axes; at most 1 is accepted"
        )
    # The runtime measures its first operand for both: a second constant beside a feature map is always refused.
    if second in graph.static and wide > 1:
        return Refusal(
            "constant-order", "its constant is the second operand, beside a feature map; the runtime refuses that"
        )
    return Layout.NCHW


def _four_dimensions(graph: Graph, node: Node) -> Layout | Refusal:
    rank = len(graph.shape(node.inputs[0]))
    return Layout.NCHW if rank == 4 else Refusal("rank", f"its input has rank {rank}; only 4 is accepted")


def _reduce(graph: Graph, node: Node) -> Layout | Refusal:
    allowed = _four_dimensions(graph, node)
    return allowed | Layout.ENDS if isinstance(allowed, Layout) else allowed


def _resize(graph: Graph, node: Node) -> Layout | Refusal:
    shape = graph.shape(node.inputs[0])
    if len(shape) == 4 and shape[1] > 1 and shape[2] > 1:
        return Layout.NCHW
    return Refusal("resize-size", f"its input is {'x'.join(map(str, shape))}; only maps of at least 2x2 are accepted")


def _pair(pair: tuple[int, int]) -> str:
    return f"{pair[0]}x{pair[1]}"


def _pads(padding: Pads) -> str:
    top, right, bottom, left = padding
    return f"top {top}, right {right}, bottom {bottom}, left {left}"


def _padding(node: Node) -> str:
    return "TensorFlow's SAME" if node.same else _pads(node.padding)
