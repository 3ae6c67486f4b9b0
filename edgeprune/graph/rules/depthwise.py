"""DepthwiseConv1D/2D and SeparableConv1D/2D.

Depthwise kernel layout: (*window, c_in, multiplier); output channel c * multiplier + m comes from input
channel c, so all outputs of one input channel go with it.
"""

from __future__ import annotations

import numpy as np

from edgeprune.graph.context import Call, Context, Traced, Work, along, elements, on_axis
from edgeprune.graph.rules.activation import own_activation
from edgeprune.graph.rules.convolution import channel_axis, hold_misplaced_bias, refuse_adapters
from edgeprune.graph.rules.rule import Config, KeptLengths, Rule, single


def trace_depthwise(call: Call, context: Context) -> Traced:
    """Channels pass through, each repeated `depth_multiplier` times."""
    layer = call.operation
    refuse_adapters(layer)
    axis = channel_axis(call)
    incoming = context.layer_axis(call, "in", along(call.inputs[0], call.shapes[0], axis))
    outgoing = np.repeat(incoming, layer.depth_multiplier)
    rank = layer.kernel.ndim
    context.weight(call, layer.kernel, "kernel", {rank - 2: incoming}, produces=rank - 2)
    if layer.use_bias:
        context.weight(call, layer.bias, "bias", {0: outgoing})
    hold_misplaced_bias(call, context, outgoing)
    positions = elements(call.output_shapes[0], (axis,)) * int(np.prod(layer.kernel_size))
    output = on_axis(outgoing, len(call.output_shapes[0]), axis)
    return single(output, Work("depthwise", positions, (outgoing,)), *own_activation(call, context, outgoing))


def trace_separable(call: Call, context: Context) -> Traced:
    """A depthwise convolution followed by a 1x1 convolution."""
    layer = call.operation
    refuse_adapters(layer)
    axis = channel_axis(call)
    incoming = context.layer_axis(call, "in", along(call.inputs[0], call.shapes[0], axis))
    middle = np.repeat(incoming, layer.depth_multiplier)
    made = context.issued(call, "out", layer.filters)
    rank = layer.depthwise_kernel.ndim
    context.weight(call, layer.depthwise_kernel, "kernel", {rank - 2: incoming})
    context.weight(call, layer.pointwise_kernel, "kernel", {rank - 2: middle, rank - 1: made}, produces=rank - 1)
    if layer.use_bias:
        context.weight(call, layer.bias, "bias", {0: made})
    hold_misplaced_bias(call, context, made)
    positions = elements(call.output_shapes[0], (axis,))
    output = on_axis(made, len(call.output_shapes[0]), axis)
    depthwise = Work(
        "depthwise",
        positions * int(np.prod(layer.kernel_size)),
        (middle,),
        inner=(positions, middle),
        variables=(layer.depthwise_kernel,),
    )
    pointwise = Work("conv", positions, (middle, made), variables=(layer.pointwise_kernel, layer.bias))
    return single(output, depthwise, pointwise, *own_activation(call, context, made))


def resize_separable(config: Config, kept: KeptLengths) -> Config:
    """Fewer filters; the depthwise half follows its input."""
    return {**config, "filters": kept["out"]}


DEPTHWISE = Rule(trace_depthwise)
SEPARABLE = Rule(trace_separable, resize_separable)
