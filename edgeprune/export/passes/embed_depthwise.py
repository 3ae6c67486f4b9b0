"""Write a 3x3 stride-2 depthwise kernel as a 5x5 one, where TensorFlow's padding (0, 1) must stay.

The window of output i starts at 2i with 3x3 and (0, 1), and at 2i - 2 with 5x5 and (2, 2): with the weights in rows
and columns 2..4 and zeros elsewhere both compute the same sums. XNNPACK's sparse kernels take the 5x5 kernel. It costs
25 instead of 9 multiplications, so it runs only where `mirror_image` refused.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgeprune.export.passes.layer_checks import is_a
from edgeprune.export.passes.layer_graph import Call, LayerGraph, remade
from edgeprune.export.passes.report import PassReport, Refusal
from edgeprune.export.passes.windows import Windows, is_accepted_stem, symmetric_refusal, windows_of

NAME = "embed_depthwise"
EXACTNESS = "exact: the added weights are zero"


def refusal(graph: LayerGraph, call: Call) -> str | None:
    """Why a stride-2 depthwise convolution with unequal padding is not embedded."""
    windows = symmetric_refusal(graph, call)
    if isinstance(windows, str):
        return windows
    if call.operation.kernel_size != (3, 3):
        return f"padding {windows.padding()} of a 5x5 kernel; it would need 7x7, which sparse kernels don't take"
    if any(axis.before != 0 or replace(axis, kernel=5).centered().count != axis.count for axis in windows.axes):
        return f"padding {windows.padding()}; the embedding is for ((0, 1), (0, 1))"
    return None


def run(graph: LayerGraph) -> PassReport:
    """Embed all 3x3 stride-2 depthwise convolutions that read (0, 1)-padded values, once the stem is symmetric."""
    import keras

    changed, refusals = [], []
    blocked = _stem_refusal(graph)
    for call in list(graph.calls):
        if not is_a(call, "DepthwiseConv2D") or call.operation.strides != (2, 2):
            continue
        windows = windows_of(graph, call)
        if isinstance(windows, Windows) and windows.is_symmetric():
            continue
        reason = blocked or refusal(graph, call)
        if reason is not None:
            refusals.append(Refusal(call.name, reason))
            continue
        assert isinstance(windows, Windows)  # or it would have been refused
        layer = call.operation
        padded = graph.insert(call, keras.layers.ZeroPadding2D(2, name=f"{call.name}_pad"), windows.source)
        new = remade(layer, kernel_size=(5, 5), padding="valid")
        output = graph.insert(call, new, padded)
        kernel, *bias = layer.get_weights()
        new.set_weights([embedded(kernel), *bias])
        new.trainable = layer.trainable
        graph.replace(call, output)
        changed.append(call.name)
    return PassReport(NAME, EXACTNESS, tuple(changed), tuple(refusals))


def embedded(kernel: np.ndarray) -> np.ndarray:
    """kernel: (3, 3, channels, 1) -> (5, 5, channels, 1), the weights in rows and columns 2..4."""
    return np.pad(kernel, ((2, 0), (2, 0), (0, 0), (0, 0)))


def _stem_refusal(graph: LayerGraph) -> str | None:
    """Sparse kernels begin at a symmetric stem; without one the larger kernels would only cost."""
    if any(is_accepted_stem(graph, call) for call in graph.calls):
        return None
    return "sparse kernels can't start: no 3x3 stride-2 convolution of 3 channels has symmetric padding"
