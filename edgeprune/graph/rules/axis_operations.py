"""Operations that move, add, drop or repeat whole axes: transpose, expand, squeeze, flip, repeat, tile, stack, pad."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeprune.graph.context import Call, Context, NoRuleError, Traced, Work, along, on_axis
from edgeprune.graph.rules.layout import axis_set, laid, long_axis, output_rank, positive
from edgeprune.graph.rules.rule import Config, KeptLengths, Rule, single
from edgeprune.graph.rules.slicing import indexes_first_axis


def _permuted(call: Call, order: list[int]) -> Traced:
    """Output axis d is input axis order[d].

    The batch may leave its place only where every reader at once indexes the axis that took it, as in
    q, k, v = transpose(qkv, (2, 0, 3, 1, 4)): all other rules take axis 0 for the batch.
    """
    if order[0] != 0 and not _only_indexed(call):
        raise NoRuleError("moves the batch axis")
    return single(call.inputs[0].transpose(order), Work("copy"))


def _only_indexed(call: Call) -> bool:
    """Whether all that reads the output is x[i] along its first axis. Keras is asked: a look ahead knows no readers."""
    readers = call.operation._outbound_nodes
    return bool(readers) and all(indexes_first_axis(node) for node in readers)


def trace_transpose(call: Call, context: Context) -> Traced:
    """keras.ops.transpose; without axes it reverses them."""
    rank = len(call.shapes[0])
    axes = call.operation.axes
    order = list(range(rank))[::-1] if axes is None else [positive(axis, rank) for axis in axes]
    return _permuted(call, order)


def trace_permute(call: Call, context: Context) -> Traced:
    """keras.layers.Permute; dims count from 1, the batch left out."""
    return _permuted(call, [0, *call.operation.dims])


def trace_swap_axes(call: Call, context: Context) -> Traced:
    """Two axes change places."""
    order = list(range(len(call.shapes[0])))
    first, second = call.operation.axis1, call.operation.axis2
    order[first], order[second] = order[second], order[first]
    return _permuted(call, order)


def trace_move_axis(call: Call, context: Context) -> Traced:
    """Some axes move to new places, the others keep their order."""
    rank = len(call.shapes[0])
    sources = [positive(axis, rank) for axis in call.operation.source]
    places = [positive(axis, rank) for axis in call.operation.destination]
    order = [axis for axis in range(rank) if axis not in sources]
    for place, source in sorted(zip(places, sources, strict=True)):
        order.insert(place, source)
    return _permuted(call, order)


def trace_expand_dims(call: Call, context: Context) -> Traced:
    """New axes of length 1."""
    rank = output_rank(call)
    added = axis_set(call.operation.axis, rank)
    if 0 in added:
        raise NoRuleError("adds an axis before the batch")
    return single(np.expand_dims(call.inputs[0], tuple(sorted(added))), Work("free"))


def trace_squeeze(call: Call, context: Context) -> Traced:
    """Axes of length 1 go."""
    shape = call.shapes[0]
    axis = call.operation.axis
    dropped = {d for d, length in enumerate(shape) if length == 1} if axis is None else axis_set(axis, len(shape))
    if 0 in dropped:
        raise NoRuleError("drops the batch axis")
    return single(np.squeeze(call.inputs[0], tuple(sorted(dropped))), Work("free"))


def trace_flip(call: Call, context: Context) -> Traced:
    """Order reversed along some axes."""
    rank = len(call.shapes[0])
    return single(np.flip(call.inputs[0], tuple(axis_set(call.operation.axis, rank))), Work("copy"))


def trace_roll(call: Call, context: Context) -> Traced:
    """Rolling along axes without channels changes nothing; the shift itself can't follow removed channels."""
    ids, axis = call.inputs[0], call.operation.axis
    rolled = long_axis(ids)
    if rolled is not None and rolled in axis_set(axis, len(call.shapes[0])):
        raise NoRuleError("rolls the channels")
    return single(ids, Work("copy"))


def trace_repeat(call: Call, context: Context) -> Traced:
    """Every element along an axis repeated a fixed number of times."""
    ids, operation = call.inputs[0], call.operation
    if operation.axis is None or not isinstance(operation.repeats, int):
        raise NoRuleError("repeats elements a different number of times")
    axis = positive(operation.axis, len(call.shapes[0]))
    if axis == 0:
        raise NoRuleError("repeats along the batch")
    return single(np.repeat(ids, operation.repeats, axis) if ids.shape[axis] > 1 else ids, Work("copy"))


def trace_tile(call: Call, context: Context) -> Traced:
    """The tensor laid end to end a number of times along each axis; missing leading repeats are 1."""
    repeats = call.operation.repeats
    rank = len(call.shapes[0])
    repeats = (repeats,) if isinstance(repeats, int) else tuple(repeats)
    repeats = (1,) * (rank - len(repeats)) + repeats
    if len(repeats) != rank or repeats[0] != 1:
        raise NoRuleError("tiles along the batch or a new axis")
    ids = call.inputs[0]
    return single(
        np.tile(ids, tuple(n if length > 1 else 1 for n, length in zip(repeats, ids.shape, strict=True))), Work("copy")
    )


def trace_repeat_vector(call: Call, context: Context) -> Traced:
    """keras.layers.RepeatVector: (batch, channels) -> (batch, n, channels)."""
    return single(np.expand_dims(call.inputs[0], 1), Work("copy"))


def trace_stack(call: Call, context: Context) -> Traced:
    """Tensors of one shape along a new axis: channels at equal places go together."""
    first, *others = call.inputs
    for ids in others:
        context.unite(first, ids)
    widest = max(call.inputs, key=np.size)
    axis = positive(call.operation.axis, output_rank(call))
    if axis == 0:
        raise NoRuleError("stacks before the batch axis")
    return single(np.expand_dims(widest, axis), Work("copy"))


def trace_broadcast(call: Call, context: Context) -> Traced:
    """keras.ops.broadcast_to: the target shape names the channel axis' length."""
    ids, rank = call.inputs[0], output_rank(call)
    axis = long_axis(ids)
    if axis is None:
        context.freeze(ids, call, "one channel is spread over many")
        return single(laid(ids, rank, None), Work("copy"))
    axis += rank - len(call.shapes[0])
    context.layer_axis(call, str(axis), ids.reshape(-1))
    return single(laid(ids, rank, axis), Work("copy"))


def resize_broadcast(config: Config, kept: KeptLengths) -> Config:
    """The channel axis of the target shape follows."""
    shape = [kept.get(str(axis), length) for axis, length in enumerate(config["shape"])]
    return {**config, "shape": tuple(shape)}


def _pad_width(value: Any, rank: int) -> list[tuple[int, int]]:
    """(before, after) of every axis."""
    pairs = np.broadcast_to(np.asarray(value, dtype=np.int64), (rank, 2))
    return [(int(before), int(after)) for before, after in pairs]


def trace_pad(call: Call, context: Context) -> Traced:
    """Padding along other axes changes nothing; new channels of a constant get ids of their own.

    A padded channel that is added to a prunable one goes with it: fewer are padded then.
    """
    ids, rank = call.inputs[0], len(call.shapes[0])
    widths = _pad_width(call.operation.pad_width, rank)
    if any(widths[0]):
        raise NoRuleError("pads the batch axis")
    axis = long_axis(ids)
    padded = [d for d in range(1, rank) if any(widths[d])]
    if axis is None and all(call.shapes[0][d] != 1 for d in padded):
        return single(ids, Work("copy"))
    if axis not in padded:
        if axis is None:
            context.freeze(ids, call, "pads a single channel")
        return single(ids, Work("copy"))
    if call.operation.mode != "constant":
        raise NoRuleError(f"pads the channels with mode {call.operation.mode}")
    before, after = widths[axis]
    head, tail = context.issued(call, "before", before), context.issued(call, "after", after)
    middle = context.layer_axis(call, "padded", along(ids, call.shapes[0], axis))
    context.layer_axis(call, f"axis {axis}", middle)
    return single(on_axis(np.concatenate([head, middle, tail]), rank, axis), Work("copy"))


def resize_pad(config: Config, kept: KeptLengths) -> Config:
    """Fewer channels are padded."""
    axis = next((int(name.split()[1]) for name in kept if name.startswith("axis ")), None)
    if axis is None:
        return config
    rank = len(config["pad_width"]) if np.ndim(config["pad_width"]) == 2 else axis + 1
    widths = _pad_width(config["pad_width"], rank)
    widths[axis] = (kept["before"], kept["after"])
    return {**config, "pad_width": tuple(widths)}


TRANSPOSE = Rule(trace_transpose)
PERMUTE = Rule(trace_permute)
SWAP_AXES = Rule(trace_swap_axes)
MOVE_AXIS = Rule(trace_move_axis)
EXPAND_DIMS = Rule(trace_expand_dims)
SQUEEZE = Rule(trace_squeeze)
FLIP = Rule(trace_flip)
ROLL = Rule(trace_roll)
REPEAT = Rule(trace_repeat)
TILE = Rule(trace_tile)
REPEAT_VECTOR = Rule(trace_repeat_vector)
STACK = Rule(trace_stack)
BROADCAST = Rule(trace_broadcast, resize_broadcast)
PAD = Rule(trace_pad, resize_pad)
