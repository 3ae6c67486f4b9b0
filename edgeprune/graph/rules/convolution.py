"""Conv1D, Conv2D, Conv3D and their transposed forms.

Kernel layout: (*window, c_in, c_out), transposed (*window, c_out, c_in); bias (c_out,).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeprune.graph.context import Call, Context, NoRuleError, Traced, Work, along, elements, on_axis
from edgeprune.graph.rules.activation import own_activation
from edgeprune.graph.rules.rule import Config, KeptLengths, Rule, single


def channel_axis(call: Call) -> int:
    """Index of the channel axis of a layer's input and output."""
    return 1 if call.operation.data_format == "channels_first" else len(call.shapes[0]) - 1


def trace(call: Call, context: Context) -> Traced:
    """The input ids lie on the kernel's input axis, fresh ids on its output axis."""
    layer = call.operation
    refuse_adapters(layer)
    axis = channel_axis(call)
    incoming = context.layer_axis(call, "in", along(call.inputs[0], call.shapes[0], axis))
    made = context.issued(call, "out", layer.filters)
    rank = layer.kernel.ndim
    positions = elements(call.output_shapes[0], (axis,)) * int(np.prod(layer.kernel_size))
    if layer.groups == 1:
        read, work = incoming, Work("conv", positions, (incoming, made))
    else:
        read, work = _grouped(call, context, incoming, made, positions)
    axes = {rank - 1: made} if read is None else {rank - 2: read, rank - 1: made}
    context.weight(call, layer._kernel, "kernel", axes, produces=rank - 1)
    if layer.use_bias:
        context.weight(call, layer.bias, "bias", {0: made})
    hold_misplaced_bias(call, context, made)
    output = on_axis(made, len(call.output_shapes[0]), axis)
    return single(output, work, *own_activation(call, context, made))


def _grouped(
    call: Call, context: Context, incoming: np.ndarray, made: np.ndarray, positions: int
) -> tuple[np.ndarray | None, Work]:
    """Grouped convolution: kernel (*window, c_in / groups, c_out); the groups must stay equally large.

    Either whole groups go, inputs with their outputs, or the channels at one place of all groups; whichever has
    the smaller steps. Returns the ids on the kernel's input axis, None where its length stays, and the work.
    """
    groups = call.operation.groups
    sources, results = incoming.reshape(groups, -1), made.reshape(groups, -1)
    per_group = sources.shape[1]
    if groups >= per_group:
        context.unite(sources, sources[:, :1])
        context.unite(results, sources[:, :1])
        context.layer_axis(call, "groups", sources[:, 0])
        return None, Work("depthwise" if per_group == 1 else "conv", positions * per_group, (made,))
    context.unite(sources, sources[:1])
    context.unite(results, results[:1])
    return sources[0], Work("conv", positions, (sources[0], made))


def trace_transposed(call: Call, context: Context) -> Traced:
    """As a convolution, with the kernel's last two axes exchanged; each input position is multiplied once."""
    layer = call.operation
    refuse_adapters(layer)
    axis = channel_axis(call)
    incoming = context.layer_axis(call, "in", along(call.inputs[0], call.shapes[0], axis))
    made = context.issued(call, "out", layer.filters)
    rank = layer.kernel.ndim
    context.weight(call, layer.kernel, "kernel", {rank - 1: incoming, rank - 2: made}, produces=rank - 2)
    if layer.use_bias:
        context.weight(call, layer.bias, "bias", {0: made})
    hold_misplaced_bias(call, context, made)
    positions = elements(call.shapes[0], (axis,)) * int(np.prod(layer.kernel_size))
    output = on_axis(made, len(call.output_shapes[0]), axis)
    return single(output, Work("conv", positions, (incoming, made)), *own_activation(call, context, made))


def hold_misplaced_bias(call: Call, context: Context, made: np.ndarray) -> None:
    """Freeze channels_first outputs that could become as many as the last axis is long.

    Keras 3.15 (backend.tensorflow.numpy.add) then adds the bias along the last axis.
    """
    shape = call.output_shapes[0]
    if call.operation.use_bias and channel_axis(call) != len(shape) - 1 and not _always_longer(shape[-1], len(made)):
        context.freeze(made, call, "Keras would add the bias along the last axis")


def _always_longer(length: int | None, channels: int) -> bool:
    return length is not None and (length == 1 or length >= channels)


def refuse_adapters(layer: Any) -> None:
    """Freeze layers whose kernel is not one plain variable."""
    if getattr(layer, "lora_enabled", False):
        raise NoRuleError("the layer has a LoRA adapter; merge it first")
    if getattr(layer, "quantization_mode", None):
        raise NoRuleError(f"the layer is quantized in Keras ({layer.quantization_mode})")


def resize(config: Config, kept: KeptLengths) -> Config:
    """Fewer filters, and fewer groups where whole groups go."""
    smaller = {**config, "filters": kept["out"]}
    if "groups" in kept:
        smaller["groups"] = kept["groups"]
    return smaller


CONVOLUTION = Rule(trace, resize)
TRANSPOSED = Rule(trace_transposed, resize)
