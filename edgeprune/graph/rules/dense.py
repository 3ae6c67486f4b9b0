"""Dense: kernel (c_in, c_out), bias (c_out,); acts on the last axis."""

from __future__ import annotations

from edgeprune.graph.context import Call, Context, NoRuleError, Traced, Work, along, elements, on_axis
from edgeprune.graph.rules.activation import own_activation
from edgeprune.graph.rules.convolution import refuse_adapters
from edgeprune.graph.rules.layout import long_axis
from edgeprune.graph.rules.rule import Config, KeptLengths, Rule, single

# Under this name the channels are registered that pass a layer on another axis than the last.
OTHER_AXIS = "other axis"


def trace(call: Call, context: Context) -> Traced:
    """The input ids lie on the kernel's first axis, fresh ids on its second."""
    layer = call.operation
    refuse_adapters(layer)
    if long_axis(call.inputs[0]) not in (None, len(call.shapes[0]) - 1):
        return _trace_on_other_axis(call, context)
    if (id(layer), OTHER_AXIS) in context.layer_ids:
        raise NoRuleError("a shared layer that reads channels on its last axis and elsewhere")
    incoming = context.layer_axis(call, "in", along(call.inputs[0], call.shapes[0], -1))
    made = context.issued(call, "out", layer.units)
    context.weight(call, layer._kernel, "kernel", {0: incoming, 1: made}, produces=1)
    if layer.use_bias:
        context.weight(call, layer.bias, "bias", {0: made})
    positions = elements(call.output_shapes[0], (-1,))
    output = on_axis(made, len(call.output_shapes[0]), -1)
    return single(output, Work("dense", positions, (incoming, made)), *own_activation(call, context, made))


def _trace_on_other_axis(call: Call, context: Context) -> Traced:
    """Channels on another axis than the last (token mixing) pass; what the layer makes then stays whole."""
    layer, ids = call.operation, call.inputs[0]
    if (id(layer), "out") in context.layer_ids:
        raise NoRuleError("a shared layer that reads channels on its last axis and elsewhere")
    axis = long_axis(ids)
    channels = context.layer_axis(call, OTHER_AXIS, ids.reshape(-1))
    context.weight(call, layer._kernel, "kernel", {})
    if layer.use_bias:
        context.weight(call, layer.bias, "bias", {})
    positions = elements(call.output_shapes[0], (axis,)) * call.shapes[0][-1]
    return single(ids, Work("dense", positions, (channels,)), *own_activation(call, context, ids))


def resize(config: Config, kept: KeptLengths) -> Config:
    """Fewer units."""
    return {**config, "units": kept.get("out", config["units"])}


DENSE = Rule(trace, resize)
