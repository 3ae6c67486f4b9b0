"""Flatten and Reshape: they rearrange the id array as they rearrange the tensor."""

from __future__ import annotations

import numpy as np

from edgeprune.graph.context import Call, Context, NoRuleError, Traced, Work
from edgeprune.graph.rules.rule import Config, KeptLengths, Rule, single


def _rearranged(call: Call) -> np.ndarray:
    """The ids of a tensor spread over its whole shape and read in the output's shape, batch 1."""
    shape, target = call.shapes[0], call.output_shapes[0]
    if None in shape[1:] or None in target[1:]:
        raise NoRuleError("reshaping a size that is not fixed")
    return np.broadcast_to(call.inputs[0], (1, *shape[1:])).reshape((1, *target[1:]))


def trace_flatten(call: Call, context: Context) -> Traced:
    """Every position of a channel map becomes one feature of that channel."""
    if call.operation.data_format == "channels_first" and len(call.shapes[0]) > 2:
        raise NoRuleError("Flatten with data_format channels_first")
    return single(_rearranged(call), Work("free"))


def trace_reshape(call: Call, context: Context) -> Traced:
    """A reshape is followed while the channels stay on the last axis or are flattened onto it."""
    ids = _rearranged(call)
    last = ids.reshape(-1, ids.shape[-1])
    if (last == last[:1]).all():
        ids = last[0].reshape((1,) * (ids.ndim - 1) + (-1,))
    else:
        raise NoRuleError("reshape that spreads channels over several axes")
    context.layer_axis(call, "last", ids.reshape(-1))
    return single(ids, Work("free"))


def resize_reshape(config: Config, kept: KeptLengths) -> Config:
    """The last length of the target shape follows the channels; -1 stays -1."""
    *leading, last = config["target_shape"]
    return {**config, "target_shape": (*leading, last if last == -1 else kept["last"])}


FLATTEN = Rule(trace_flatten)
RESHAPE = Rule(trace_reshape, resize_reshape)
