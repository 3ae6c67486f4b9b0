"""Dense: kernel (c_in, c_out), bias (c_out,); acts on the last axis."""

from __future__ import annotations

from edgeprune.graph.context import Call, Context, Traced, Work, along, elements, on_axis
from edgeprune.graph.rules.activation import own_activation
from edgeprune.graph.rules.convolution import refuse_adapters
from edgeprune.graph.rules.rule import Config, KeptLengths, Rule, single


def trace(call: Call, context: Context) -> Traced:
    """The input ids lie on the kernel's first axis, fresh ids on its second."""
    layer = call.operation
    refuse_adapters(layer)
    incoming = context.layer_axis(call, "in", along(call.inputs[0], call.shapes[0], -1))
    made = context.issued(call, "out", layer.units)
    context.weight(call, layer._kernel, "kernel", {0: incoming, 1: made}, produces=1)
    if layer.use_bias:
        context.weight(call, layer.bias, "bias", {0: made})
    positions = elements(call.output_shapes[0], (-1,))
    output = on_axis(made, len(call.output_shapes[0]), -1)
    return single(output, Work("dense", positions, (incoming, made)), *own_activation(call, context, made))


def resize(config: Config, kept: KeptLengths) -> Config:
    """Fewer units."""
    return {**config, "units": kept["out"]}


DENSE = Rule(trace, resize)
