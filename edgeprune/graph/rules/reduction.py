"""Sums, means and the like over some axes, and functions that work along an axis (softmax, cumulative sums).

Over an axis without channels they treat every channel alone. Over the channels themselves a removed channel would be
missing in the result even when nothing reads it, so these channels stay.
"""

from __future__ import annotations

import numpy as np

from edgeprune.graph.context import FROZEN, Call, Context, NoRuleError, Traced, Work
from edgeprune.graph.rules.layout import axis_set, laid, long_axis
from edgeprune.graph.rules.rule import Rule


def trace_reduction(call: Call, context: Context) -> Traced:
    """mean, sum, max, ...: the axes in `axis` go, or stay with length 1. Every output is reduced alike."""
    operation = call.operation
    ids, rank = call.inputs[0], len(call.shapes[0])
    axes = axis_set(operation.axes if hasattr(operation, "axes") else operation.axis, rank)
    if 0 in axes:
        raise NoRuleError("reduces over the batch")
    if len(call.inputs) > 1:
        raise NoRuleError("a weighted reduction")
    outputs: list[np.ndarray] = []
    channels = long_axis(ids)
    if channels in axes:
        context.freeze(ids, call, f"{call.kind.lower()} over the channels")
    for shape in call.output_shapes:
        if channels is None or channels in axes:
            frozen = np.full((1,) * len(shape), FROZEN, dtype=np.int64)
            outputs.append(frozen if channels in axes else ids.reshape((1,) * len(shape)))
        else:
            place = channels if len(shape) == rank else channels - sum(1 for axis in axes if axis < channels)
            outputs.append(laid(ids, len(shape), place))
    return Traced(tuple(outputs), (Work("copy"),))


def trace_along_axis(call: Call, context: Context) -> Traced:
    """softmax, cumsum, sort, normalize: every position along the axis depends on the others."""
    ids, rank = call.inputs[0], len(call.shapes[0])
    axes = axis_set(call.operation.axis, rank)
    if 0 in axes:
        raise NoRuleError("works along the batch")
    if any(ids.size > 1 for ids in call.inputs[1:]):
        raise NoRuleError("a mask with channels")
    if long_axis(ids) in axes:
        context.freeze(ids, call, f"{call.kind.lower()} over the channels")
    return Traced((ids,) * len(call.output_shapes), (Work("copy"),))


def trace_masking(call: Call, context: Context) -> Traced:
    """keras.layers.Masking zeroes the steps at which all channels have one value."""
    ids = call.inputs[0]
    if ids.size > 1:
        context.freeze(ids, call, "masks steps by all channels")
    return Traced((ids,), (Work("copy"),))


REDUCTION = Rule(trace_reduction)
ALONG_AXIS = Rule(trace_along_axis)
MASKING = Rule(trace_masking)
