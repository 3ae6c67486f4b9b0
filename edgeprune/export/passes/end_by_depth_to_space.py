"""Let feature maps leave a sparse cluster where no global mean follows: maps that are outputs, flattened, or pooled by
their maximum.

XNNPACK's sparse clusters end at a mean over height and width or at a DEPTH_TO_SPACE, and every value in them may be
read inside only. A DEPTH_TO_SPACE and the SPACE_TO_DEPTH that undoes it, outside, copy the maps and change nothing.
Their channels must be a multiple of four; a 1x1 convolution that copies channels adds some where they are not.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeprune.export.passes.layer_checks import is_a, is_operation
from edgeprune.export.passes.layer_graph import Call, LayerGraph
from edgeprune.export.passes.report import PassReport, Refusal
from edgeprune.export.passes.stops import first_stop
from edgeprune.export.passes.windows import CONVOLUTIONS, is_stem

NAME = "end_by_depth_to_space"
EXACTNESS = "exact"

_BLOCK = 2


def run(graph: LayerGraph) -> PassReport:
    """Give all maps that leave a cluster, behind stems whose other layers sparse kernels take, an end of their own."""
    import keras

    changed, refusals = [], []
    for call in list(graph.calls):
        leaving = [made for made in call.outputs if _is_map(made) and _leaves(graph, made)]
        if not leaving or is_operation(call, "SpaceToDepth", "GetItem"):
            continue
        stems = _stems_before(graph, call)
        if not stems:
            continue
        reason = next(filter(None, (first_stop(graph, stem, whatever_padding=True) for stem in stems)), None)
        if reason is None and not hasattr(keras.ops, "depth_to_space"):
            reason = f"keras {keras.__version__} has no depth_to_space; 3.15 has"
        if reason is not None:
            refusals.append(Refusal(call.name, reason))
            continue
        for made in leaving:
            _end(graph, call, made)
        changed.append(call.name)
    return PassReport(NAME, EXACTNESS, tuple(changed), tuple(refusals))


def leaves_cluster(graph: LayerGraph, call: Call) -> bool:
    """Whether a call is the first of the two that this pass writes."""
    if not is_operation(call, "DepthToSpace"):
        return False
    reader = graph.only_reader(call.output)
    return reader is not None and is_operation(reader, "SpaceToDepth")


def turned_back(graph: LayerGraph, call: Call) -> None:
    """Put the positions of maps that are mirrored in the cluster back in order behind it.

    call: one that `leaves_cluster`. Height and width are read backwards as one axis: older runtimes reverse only one.
    """
    import keras

    back = graph.only_reader(call.output)
    assert back is not None  # or the call would not leave the cluster
    height, width, channels = back.output.shape[1:]
    position = next(at for at, other in enumerate(graph.calls) if other is back) + 1
    following = graph.calls[position] if position < len(graph.calls) else None
    readers = graph.readers(back.output)
    row = graph.insert(following, keras.ops.reshape, back.output, (-1, height * width, channels))
    row = graph.insert(following, keras.ops.flip, row, axis=1)
    _read_instead(
        graph, readers, back.output, graph.insert(following, keras.ops.reshape, row, (-1, height, width, channels))
    )


def _is_map(tensor: Any) -> bool:
    shape = tuple(tensor.shape[1:])
    return len(shape) == 3 and shape[:2] != (1, 1) and None not in shape


def _leaves(graph: LayerGraph, tensor: Any) -> bool:
    return graph.is_output(tensor) or any(_reads_outside(reader) for reader in graph.readers(tensor))


def _reads_outside(call: Call) -> bool:
    return is_a(call, "GlobalMaxPooling2D", "Flatten", "Reshape") or is_operation(call, "Reshape", "Transpose")


def _stems_before(graph: LayerGraph, call: Call) -> list[Call]:
    """The first convolutions that a call's maps are made from; none where they have left a cluster before."""
    waiting, seen, stems = [call], [], []
    while waiting:
        current = waiting.pop()
        if any(current is other for other in seen):
            continue
        seen.append(current)
        if _reads_outside(current) or is_operation(current, "SpaceToDepth"):
            return []
        if is_a(current, *CONVOLUTIONS) and is_stem(graph, current):
            stems.append(current)
            continue
        waiting += [source for tensor in current.tensors if (source := graph.producer(tensor)) is not None]
    return stems


def _end(graph: LayerGraph, call: Call, tensor: Any) -> None:
    import keras

    position = next(at for at, other in enumerate(graph.calls) if other is call) + 1
    following = graph.calls[position] if position < len(graph.calls) else None
    readers = [reader for reader in graph.readers(tensor) if _reads_outside(reader)]
    channels = tensor.shape[-1]
    missing = -channels % _BLOCK**2
    value = tensor
    if missing:
        wide = keras.layers.Conv2D(channels + missing, 1, use_bias=False, dtype=tensor.dtype, name=f"{call.name}_wide")
        value = graph.insert(following, wide, value)
        wide.set_weights([np.eye(channels, channels + missing, dtype=np.float32)[None, None]])
    value = graph.insert(following, keras.ops.depth_to_space, value, _BLOCK)
    value = graph.insert(following, keras.ops.space_to_depth, value, _BLOCK)
    if missing:
        value = graph.insert(following, keras.ops.get_item, value, (slice(None),) * 3 + (slice(0, channels),))
    _read_instead(graph, readers, tensor, value)


def _read_instead(graph: LayerGraph, readers: list[Call], old: Any, new: Any) -> None:
    """Let these calls, and the model's outputs, read another tensor."""
    graph.redirect(readers, old, new)
    graph.outputs = [new if output is old else output for output in graph.outputs]
