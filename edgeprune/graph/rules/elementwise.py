"""Layers that treat every channel alone and alike: activations, dropout, noise, pooling, padding, resampling.

Ids along spatial axes have length 1 here, so changing the spatial size leaves them as they are.
"""

from __future__ import annotations

from edgeprune.graph.context import Call, Context, NoRuleError, Traced, Work, along, on_axis
from edgeprune.graph.rules.convolution import FUSED_ACTIVATIONS
from edgeprune.graph.rules.rule import Rule, single


def trace_free(call: Call, context: Context) -> Traced:
    """Nothing happens at inference (dropout, noise, identity)."""
    return single(call.inputs[0], Work("free"))


def trace_function(call: Call, context: Context) -> Traced:
    """An elementwise function without parameters."""
    return single(call.inputs[0], Work("copy"))


def trace_activation(call: Call, context: Context) -> Traced:
    """Activation and ReLU layers; softmax mixes channels, so they must all stay."""
    name = getattr(getattr(call.operation, "activation", None), "__name__", type(call.operation).__name__.lower())
    if name in ("softmax", "log_softmax"):
        context.freeze(call.inputs[0], call, "softmax over the channels")
    elif name in ("glu", "sparsemax", "sparse_plus"):
        raise NoRuleError(f"activation {name}")
    return single(call.inputs[0], Work("fusable" if name in FUSED_ACTIVATIONS else "copy"))


def trace_relu(call: Call, context: Context) -> Traced:
    """ReLU; runtimes fold it when it is a plain one clipped at nothing or 6."""
    layer = call.operation
    plain = not layer.negative_slope and not layer.threshold and layer.max_value in (None, 6)
    return single(call.inputs[0], Work("fusable" if plain else "copy"))


def trace_softmax(call: Call, context: Context) -> Traced:
    """Softmax mixes the channels it runs over."""
    context.freeze(call.inputs[0], call, "softmax over the channels")
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


def _channels(call: Call):
    axis = 1 if getattr(call.operation, "data_format", None) == "channels_first" else len(call.shapes[0]) - 1
    return along(call.inputs[0], call.shapes[0], axis), axis


FREE = Rule(trace_free)
FUNCTION = Rule(trace_function)
ACTIVATION = Rule(trace_activation)
RELU = Rule(trace_relu)
SOFTMAX = Rule(trace_softmax)
PRELU = Rule(trace_prelu)
SPATIAL = Rule(trace_spatial)
GLOBAL_POOLING = Rule(trace_global_pooling)
