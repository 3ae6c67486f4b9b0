"""Write what pools whole maps as a global pooling layer: keras.ops.mean over height and width, or a pooling layer whose
window is the map.

An AVERAGE_POOL_2D has no sparse form, whatever its window; XNNPACK's sparse clusters end at a MEAN. The other passes
know the layer, too.
"""

from __future__ import annotations

from typing import Any

from edgeprune.export.passes.layer_checks import is_a, is_operation
from edgeprune.export.passes.layer_graph import Call, LayerGraph
from edgeprune.export.passes.report import PassReport

NAME = "name_global_pooling"
EXACTNESS = "exact up to float32 rounding: the same sum in another order"


def run(graph: LayerGraph) -> PassReport:
    """Replace every such call."""
    changed = []
    for call in list(graph.calls):
        layer = _global_pooling(call)
        if layer is not None:
            graph.replace(call, graph.insert(call, layer, call.tensors[0]))
            changed.append(call.name)
    return PassReport(NAME, EXACTNESS, tuple(changed))


def _global_pooling(call: Call) -> Any | None:
    """The layer that computes the same; None where there is none, and for one that is global already."""
    import keras

    layers = keras.layers
    if is_operation(call, "Mean", "Max") and len(call.tensors) == 1 and len(call.tensors[0].shape) == 4:
        axis = call.operation.axis
        axes = {number % 4 for number in ((axis,) if isinstance(axis, int) else axis or ())}
        # Max has an initial value and further arguments; with those it is something else.
        if axes != {1, 2} or getattr(call.operation, "initial", None) is not None:
            return None
        kind = layers.GlobalAveragePooling2D if is_operation(call, "Mean") else layers.GlobalMaxPooling2D
        return kind(keepdims=call.operation.keepdims, name=call.name)
    if not is_a(call, "AveragePooling2D", "MaxPooling2D") or call.operation.data_format != "channels_last":
        return None
    if tuple(call.operation.pool_size) != tuple(call.tensors[0].shape[1:3]) or call.output.shape[1:3] != (1, 1):
        return None
    kind = layers.GlobalAveragePooling2D if is_a(call, "AveragePooling2D") else layers.GlobalMaxPooling2D
    return kind(keepdims=True, name=call.name)
