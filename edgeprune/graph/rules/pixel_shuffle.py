"""depth_to_space and space_to_depth of keras.ops. Channel c of block position (i, j) is (i * block + j) * c_out + c."""

from __future__ import annotations

import numpy as np

from edgeprune.graph.context import Call, Context, Traced, Work, along, on_axis
from edgeprune.graph.rules.rule import Rule, single


def _axis(call: Call) -> int:
    return 1 if call.operation.data_format == "channels_first" else len(call.shapes[0]) - 1


def trace_depth_to_space(call: Call, context: Context) -> Traced:
    """The block * block channels that land on one output channel go together."""
    axis = _axis(call)
    channels = along(call.inputs[0], call.shapes[0], axis).reshape(call.operation.block_size**2, -1)
    context.unite(channels, channels[:1])
    return single(on_axis(channels[0], len(call.output_shapes[0]), axis), Work("copy"))


def trace_space_to_depth(call: Call, context: Context) -> Traced:
    """Every channel becomes block * block channels."""
    axis = _axis(call)
    channels = along(call.inputs[0], call.shapes[0], axis)
    outgoing = np.tile(channels, call.operation.block_size**2)
    return single(on_axis(outgoing, len(call.output_shapes[0]), axis), Work("copy"))


DEPTH_TO_SPACE = Rule(trace_depth_to_space)
SPACE_TO_DEPTH = Rule(trace_space_to_depth)
