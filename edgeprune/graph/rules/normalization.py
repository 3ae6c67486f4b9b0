"""BatchNormalization: gamma, beta, moving mean and variance (channels,) ride on the ids of the input."""

from __future__ import annotations

from edgeprune.graph.context import Call, Context, Traced, Work, along
from edgeprune.graph.rules.rule import Rule, single


def trace_batch(call: Call, context: Context) -> Traced:
    """Each channel is scaled and shifted alone."""
    layer = call.operation
    channels = context.layer_axis(call, "in", along(call.inputs[0], call.shapes[0], layer.axis))
    for variable in layer.weights:
        context.weight(call, variable, "norm", {0: channels})
    return single(call.inputs[0], Work("fusable"))


BATCH = Rule(trace_batch)
