"""Conv1D, Conv2D, Conv3D and their transposed forms.

Kernel layout: (*window, c_in, c_out), transposed (*window, c_out, c_in); bias (c_out,).
"""

from __future__ import annotations

import numpy as np

from edgeprune.graph.context import Call, Context, NoRuleError, Traced, Work, along, elements, on_axis
from edgeprune.graph.rules.rule import Config, KeptLengths, Rule, single

# Functions that runtimes fold into the operation before them.
FUSED_ACTIVATIONS = ("linear", "relu", "relu6")


def channel_axis(call: Call) -> int:
    """Index of the channel axis of a layer's input and output."""
    return 1 if call.operation.data_format == "channels_first" else len(call.shapes[0]) - 1


def own_activation(call: Call) -> tuple[Work, ...]:
    """The work of a layer's own activation: none for the ReLU family, which runtimes fold into the kernel."""
    name = getattr(call.operation.activation, "__name__", "activation")
    return () if name in FUSED_ACTIVATIONS else (Work("copy", variables=()),)


def trace(call: Call, context: Context) -> Traced:
    """The input ids lie on the kernel's input axis, fresh ids on its output axis."""
    layer = call.operation
    if layer.groups != 1:
        raise NoRuleError("grouped convolution")
    axis = channel_axis(call)
    incoming = context.layer_axis(call, "in", along(call.inputs[0], call.shapes[0], axis))
    made = context.issued(call, "out", layer.filters)
    rank = layer.kernel.ndim
    context.weight(call, layer._kernel, "kernel", {rank - 2: incoming, rank - 1: made}, produces=rank - 1)
    if layer.use_bias:
        context.weight(call, layer.bias, "bias", {0: made})
    positions = elements(call.output_shapes[0], (axis,)) * int(np.prod(layer.kernel_size))
    output = on_axis(made, len(call.output_shapes[0]), axis)
    return single(output, Work("conv", positions, (incoming, made)), *own_activation(call))


def trace_transposed(call: Call, context: Context) -> Traced:
    """As a convolution, with the kernel's last two axes exchanged; each input position is multiplied once."""
    layer = call.operation
    axis = channel_axis(call)
    incoming = context.layer_axis(call, "in", along(call.inputs[0], call.shapes[0], axis))
    made = context.issued(call, "out", layer.filters)
    rank = layer.kernel.ndim
    context.weight(call, layer.kernel, "kernel", {rank - 1: incoming, rank - 2: made}, produces=rank - 2)
    if layer.use_bias:
        context.weight(call, layer.bias, "bias", {0: made})
    positions = elements(call.shapes[0], (axis,)) * int(np.prod(layer.kernel_size))
    output = on_axis(made, len(call.output_shapes[0]), axis)
    return single(output, Work("conv", positions, (incoming, made)), *own_activation(call))


def resize(config: Config, kept: KeptLengths) -> Config:
    """Fewer filters."""
    return {**config, "filters": kept["out"]}


CONVOLUTION = Rule(trace, resize)
TRANSPOSED = Rule(trace_transposed, resize)
