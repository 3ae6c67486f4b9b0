"""Layers that treat every channel alone and alike: plain functions, dropout, noise, pooling, padding, resampling.

Ids along spatial axes have length 1 here, so changing the spatial size leaves them as they are.
"""

from __future__ import annotations

import numpy as np

from edgeprune.graph.context import Call, Context, NoRuleError, Traced, Work, along, on_axis
from edgeprune.graph.rules.rule import Rule, single


def trace_free(call: Call, context: Context) -> Traced:
    """Nothing happens at inference (dropout, noise, identity)."""
    noise_shape = getattr(call.operation, "noise_shape", None)
    lengths = zip(call.inputs[0].shape, noise_shape or (), strict=False)
    if any(ids > 1 and noise not in (None, 1) for ids, noise in lengths):
        raise NoRuleError("noise_shape names the number of channels")
    return single(call.inputs[0], Work("free"))


def trace_function(call: Call, context: Context) -> Traced:
    """An elementwise function without parameters."""
    return single(call.inputs[0], Work("copy"))


def trace_prelu(call: Call, context: Context) -> Traced:
    """PReLU: alpha has the input's shape without the batch; shared axes have length 1."""
    layer = call.operation
    channels = context.layer_axis(call, "in", along(call.inputs[0], call.shapes[0], -1))
    last = layer.alpha.ndim - 1
    shared = layer.alpha.shape[last] == 1
    context.weight(call, layer.alpha, "other", {} if shared else {last: channels})
    return single(call.inputs[0], Work("copy"))


def trace_spatial(call: Call, context: Context) -> Traced:
    """Pooling, padding, cropping and up-sampling: the channel axis stays, other axes change length."""
    ids, axis = _channels(call)
    return single(on_axis(ids, len(call.output_shapes[0]), axis), Work("copy"))


def trace_global_pooling(call: Call, context: Context) -> Traced:
    """Global pooling keeps the channel axis and drops the others, or keeps them at length 1."""
    ids, axis = _channels(call)
    rank = len(call.output_shapes[0])
    return single(on_axis(ids, rank, axis if rank == len(call.shapes[0]) else 1), Work("copy"))


def _channels(call: Call) -> tuple[np.ndarray, int]:
    axis = 1 if getattr(call.operation, "data_format", None) == "channels_first" else len(call.shapes[0]) - 1
    return along(call.inputs[0], call.shapes[0], axis), axis


FREE = Rule(trace_free)
FUNCTION = Rule(trace_function)
PRELU = Rule(trace_prelu)
SPATIAL = Rule(trace_spatial)
GLOBAL_POOLING = Rule(trace_global_pooling)
