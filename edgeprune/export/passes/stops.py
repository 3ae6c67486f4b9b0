"""What keeps sparse kernels from running behind the stem, whatever the stem is."""

from __future__ import annotations

from typing import Any

from edgeprune.export.passes.embed_depthwise import refusal as embedding_refusal
from edgeprune.export.passes.layer_checks import is_a
from edgeprune.export.passes.layer_graph import Call, LayerGraph
from edgeprune.export.passes.windows import CONVOLUTIONS, layer_takes, windows_of


def first_stop(graph: LayerGraph, stem: Call, *, whatever_padding: bool = False) -> str | None:
    """The first layer that reads maps made from the stem and that no sparse kernel takes, and why.

    whatever_padding: leave padding out of account, where another pass comes that changes it.
    Source: XNNPACK src/subgraph.c, xnn_check_nchw_compatibility.
    """
    maps: list[Any] = list(stem.outputs)
    for call in graph.calls:
        if not any(read is made for read in call.tensors for made in maps):
            continue
        reason = _refusal(graph, call, whatever_padding)
        if reason is not None:
            return f'"{call.name}" behind it is {reason}'
        maps += [made for made in call.outputs if len(made.shape) == 4 and tuple(made.shape[1:3]) != (1, 1)]
    return None


def _refusal(graph: LayerGraph, call: Call, whatever_padding: bool) -> str | None:
    if is_a(call, "MaxPooling2D", "AveragePooling2D", "Concatenate"):
        return f"a {type(call.operation).__name__}, which has no sparse form"
    if not is_a(call, *CONVOLUTIONS):
        return None
    layer = call.operation
    if is_a(call, "Conv2D") and layer.kernel_size == (1, 1) and layer.strides == (1, 1):
        return None if layer.groups == 1 else f"a 1x1 convolution of {layer.groups} groups; sparse kernels take 1"
    if is_a(call, "SeparableConv2D") and layer.strides == (1, 1):  # the converter writes two convolutions
        return None if layer.padding == "same" else "a SeparableConv2D without padding"
    reason = layer_takes(graph, call)
    if reason is not None or whatever_padding:
        return reason
    windows = windows_of(graph, call)
    if isinstance(windows, str) or windows.is_symmetric():
        return windows if isinstance(windows, str) else None
    if layer.strides == (2, 2) and is_a(call, "DepthwiseConv2D"):
        return embedding_refusal(graph, call)
    return f"padded by {windows.padding()}; sparse kernels take symmetric padding"
