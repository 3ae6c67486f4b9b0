"""Normalization layers: their vectors (channels,) ride on the ids of the input.

BatchNormalization treats every channel alone. Layer, group, RMS and unit normalization take statistics over channels:
with fewer channels they are taken over the channels that are kept, so the smaller model equals the dense one whose
statistics are taken over the kept channels, and fine-tuning does the rest.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from edgeprune.graph.context import Call, Context, NoRuleError, Traced, Work, along
from edgeprune.graph.rules.rule import Config, KeptLengths, Rule, single


def trace_batch(call: Call, context: Context) -> Traced:
    """Each channel is scaled and shifted alone."""
    _ride(call, context, call.operation.axis, call.operation.weights)
    return single(call.inputs[0], Work("fusable"))


def trace_over_axes(call: Call, context: Context) -> Traced:
    """LayerNormalization and RMSNormalization: vectors with one axis per normalized axis."""
    layer = call.operation
    _ride(call, context, layer.axis, layer.weights)
    return single(call.inputs[0], Work("copy"))


def trace_unit(call: Call, context: Context) -> Traced:
    """UnitNormalization has no weights."""
    _ride(call, context, call.operation.axis, ())
    return single(call.inputs[0], Work("copy"))


def trace_group(call: Call, context: Context) -> Traced:
    """GroupNormalization keeps groups of equal size.

    Either whole groups go (exact, since groups know nothing of each other) or the channels at one place of all groups;
    whichever has the smaller steps.
    """
    layer = call.operation
    channels = context.layer_axis(call, "in", along(call.inputs[0], call.shapes[0], layer.axis))
    by_group = channels.reshape(layer.groups, -1)
    if layer.groups > 1:
        whole = layer.groups >= by_group.shape[1]
        context.unite(by_group, by_group[:, :1] if whole else by_group[:1])
        if whole:
            context.layer_axis(call, "groups", by_group[:, 0])
    for variable in layer.weights:
        context.weight(call, variable, "norm", {0: channels})
    return single(call.inputs[0], Work("copy"))


def resize_group(config: Config, kept: KeptLengths) -> Config:
    """Fewer groups, where whole groups go."""
    return {**config, "groups": kept.get("groups", config["groups"])}


def trace_preprocessing(call: Call, context: Context) -> Traced:
    """Normalization: a mean and a variance per place of the axes it keeps, learned from data or given."""
    layer = call.operation
    given = layer.input_mean is not None
    if given and call.inputs[0].size > 1:
        raise NoRuleError("Normalization by given constants")
    per_place = [variable for variable in layer.weights if len(variable.shape) > 0]
    _ride(call, context, layer._keep_axis, per_place)
    for variable in layer.weights:
        if len(variable.shape) == 0:
            context.weight(call, variable, "norm", {})
    return single(call.inputs[0], Work("copy"))


def trace_scale(call: Call, context: Context) -> Traced:
    """Rescaling by one number, or by constants per channel of what can't be pruned."""
    layer = call.operation
    numbers = all(isinstance(value, (int, float)) for value in (layer.scale, layer.offset))
    if not numbers and call.inputs[0].size > 1:
        raise NoRuleError("Rescaling by a constant per channel")
    return single(call.inputs[0], Work("copy"))


def trace_layer_scale(call: Call, context: Context) -> Traced:
    """ConvNeXt's LayerScale: one learned factor per channel."""
    _ride(call, context, -1, call.operation.weights)
    return single(call.inputs[0], Work("copy"))


def resize_layer_scale(config: Config, kept: KeptLengths) -> Config:
    """Fewer factors."""
    return {**config, "projection_dim": kept["-1"]}


def _ride(call: Call, context: Context, axes: int | Iterable[int], variables: Iterable[Any]) -> None:
    """Lay the ids of the given axes of the input on the axes of variables that have exactly those axes."""
    ids, shape = call.inputs[0], call.shapes[0]
    listed = [axes] if isinstance(axes, int) else sorted(axes)
    found = {}
    for place, axis in enumerate(listed):
        axis %= len(shape)
        if ids.shape[axis] > 1 or (ids.size == 1 and shape[axis] == 1):
            found[place] = context.layer_axis(call, str(axis - len(shape)), along(ids, shape, axis))
    for variable in variables:
        context.weight(call, variable, "norm", found)


BATCH = Rule(trace_batch)
OVER_AXES = Rule(trace_over_axes)
UNIT = Rule(trace_unit)
GROUP = Rule(trace_group, resize_group)
PREPROCESSING = Rule(trace_preprocessing)
RESCALING = Rule(trace_scale)
LAYER_SCALE = Rule(trace_layer_scale, resize_layer_scale)
