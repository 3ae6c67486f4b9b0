"""Write what skips every other position as a depthwise 3x3 stride-2 convolution: 1x1 convolutions with stride 2 and
2x2 average pooling, as shortcuts of residual blocks have them.

XNNPACK's sparse kernels take neither, but they take the depthwise convolution. Its window holds the one position, or
the two, that are read. A 1x1 convolution follows without its stride.
"""

from __future__ import annotations

import numpy as np

from edgeprune.export.passes.layer_checks import is_a, layer_refusal
from edgeprune.export.passes.layer_graph import Call, LayerGraph, remade
from edgeprune.export.passes.report import PassReport, Refusal

NAME = "write_as_depthwise"
EXACTNESS = "exact up to float32 rounding: the added products are zero"


def refusal(graph: LayerGraph, call: Call) -> str | None:
    """Why a 1x1 stride-2 convolution, or a pooling by 2, stays."""
    reason = layer_refusal(graph, call)
    if reason is not None:
        return reason
    sizes = call.tensors[0].shape[1:3]
    if None in sizes:
        return "the input's height or width is open"
    if is_a(call, "AveragePooling2D") and any(size % 2 for size in sizes):
        return f"it pools {sizes[0]}x{sizes[1]} values by 2, an odd size; it would drop or add a border"
    return None


def run(graph: LayerGraph) -> PassReport:
    """Rewrite all behind the first convolution."""
    changed, refusals, behind = [], [], []
    for call in list(graph.calls):
        inside = any(read is made for read in call.tensors for made in behind)
        if inside or is_a(call, "Conv2D", "DepthwiseConv2D", "SeparableConv2D"):
            behind += call.outputs
        if not inside or not _skips(call):
            continue
        reason = refusal(graph, call)
        if reason is not None:
            refusals.append(Refusal(call.name, reason))
            continue
        _write(graph, call)
        changed.append(call.name)
    return PassReport(NAME, EXACTNESS, tuple(changed), tuple(refusals))


def _skips(call: Call) -> bool:
    layer = call.operation
    if is_a(call, "AveragePooling2D"):
        return tuple(layer.pool_size) == tuple(layer.strides) == (2, 2)
    return is_a(call, "Conv2D") and (layer.kernel_size, layer.strides, layer.groups) == ((1, 1), (2, 2), 1)


def _write(graph: LayerGraph, call: Call) -> None:
    import keras

    source = call.tensors[0]
    layer = call.operation
    taps = [_taps(size, averages=is_a(call, "AveragePooling2D")) for size in source.shape[1:3]]
    picker = keras.layers.DepthwiseConv2D(
        3, strides=2, padding="same", use_bias=False, dtype=layer.dtype_policy, name=f"{call.name}_step"
    )
    output = graph.insert(call, picker, source)
    kernel = np.outer(*taps)[:, :, None, None]
    picker.set_weights([np.broadcast_to(kernel, (3, 3, source.shape[-1], 1)).astype(np.float32)])
    picker.trainable = False
    if is_a(call, "Conv2D"):
        new = remade(layer, strides=(1, 1))
        output = graph.insert(call, new, output)
        new.set_weights(layer.get_weights())
        new.trainable = layer.trainable
    graph.replace(call, output)


def _taps(size: int, *, averages: bool) -> np.ndarray:
    """One axis of the 3x3 kernel. SAME on an even size begins its windows at 0, 2, ...; on an odd one at -1, 1, ..."""
    if averages:
        return np.array([0.5, 0.5, 0.0])
    return np.array([0.0, 1.0, 0.0] if size % 2 else [1.0, 0.0, 0.0])
