"""Operations that take parts of a tensor: slices, indices, split, unstack, take, diagonal parts of an axis."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgeprune.graph.context import FROZEN, Call, Context, NoRuleError, Traced, Work, along, on_axis
from edgeprune.graph.rules.call_arguments import Operand, argument
from edgeprune.graph.rules.layout import laid, long_axis, output_rank, positive
from edgeprune.graph.rules.rule import Arguments, Config, KeptLengths, KeptMasks, Rule, single

WHOLE = slice(None)


def _entries(key: Any, rank: int) -> list[Any]:
    """A key of x[key] with its ellipsis written out: one entry per axis, and None where an axis is added."""
    entries = list(key) if isinstance(key, (tuple, list)) else [key]
    if not any(entry is Ellipsis for entry in entries):
        entries.append(Ellipsis)
    place = next(i for i, entry in enumerate(entries) if entry is Ellipsis)
    missing = rank - sum(1 for entry in entries if entry is not None and entry is not Ellipsis)
    return entries[:place] + [WHOLE] * missing + entries[place + 1 :]


def _is_index(entry: Any) -> bool:
    return isinstance(entry, (int, np.integer)) and not isinstance(entry, bool)


def trace_get_item(call: Call, context: Context) -> Traced:
    """x[key]. A slice takes part of the channels; an index takes one channel, which must then stay."""
    ids, rank = call.inputs[0], len(call.shapes[0])
    entries = _entries(argument(call, 1, "key"), rank)
    if not all(entry is None or isinstance(entry, slice) or _is_index(entry) for entry in entries):
        raise NoRuleError("indexing with something else than numbers and slices")
    taken = [entry for entry in entries if entry is not None]
    if entries[0] is None or (taken[0] != WHOLE and not (_is_index(taken[0]) and _batch_moved(call))):
        raise NoRuleError("slices the batch")
    axis = long_axis(ids)
    if axis is not None and taken[axis] != WHOLE:
        channels = along(ids, call.shapes[0], axis)
        if _is_index(taken[axis]):
            context.freeze(channels[taken[axis]], call, "a single channel is taken out")
        else:
            _unite_steps(channels, taken[axis], context)
        context.layer_axis(call, str(axis), channels)
    moved, position = [], 0
    for entry in entries:
        if entry is None:
            moved.append(None)
            continue
        if position == axis:
            moved.append(entry)
        else:
            moved.append(0 if _is_index(entry) else WHOLE)
        position += 1
    return single(np.asarray(ids[tuple(moved)]), Work("copy"))


def indexes_first_axis(node: Any) -> bool:
    """Whether a Keras node is x[i] or x[i, ...] with a number i, the rest taken whole or sliced."""
    if type(node.operation).__name__ != "GetItem":
        return False
    arguments = (*node.arguments.args, *node.arguments.kwargs.values())
    tensor, key = arguments[:2]
    return _is_index(_entries(key, len(tensor.shape))[0])


def _batch_moved(call: Call) -> bool:
    """Whether axis 0 of the input is not the batch: only transpose lets that through, and only for x[i]."""
    shape = call.shapes[0]
    return shape[0] is not None and None in shape[1:] and call.inputs[0].shape[0] == 1


def _unite_steps(channels: np.ndarray, taken: slice, context: Context) -> None:
    """With a step of n, runs of n channels go together, so that the same step takes the right ones of those left."""
    step = taken.step or 1
    if step in (1, -1):
        return
    if step < 0:
        raise NoRuleError("a slice of the channels with a negative step")
    start, stop, _ = taken.indices(len(channels))
    first = 0 if start < step and stop == len(channels) else start
    part = channels[first:stop]
    whole = len(part) // step * step
    runs = part[:whole].reshape(-1, step)
    context.unite(runs, runs[:, :1])
    if whole < len(part):
        context.unite(part[whole:], part[whole])


def rewrite_get_item(args: tuple[Any, ...], kwargs: Mapping[str, Any], masks: KeptMasks) -> Arguments:
    """The same slice or index, counted over the kept channels."""
    tensor, key = (*args, kwargs["key"])[:2] if "key" in kwargs else args[:2]
    entries = _entries(key, len(tensor.shape))
    for name, mask in masks.items():
        place = [i for i, entry in enumerate(entries) if entry is not None][int(name)]
        entries[place] = _kept_entry(entries[place], mask)
    return (tensor, tuple(entries)), {}


def _kept_entry(entry: Any, mask: np.ndarray) -> Any:
    """entry over all channels -> over the kept ones. mask: (channels,) bool."""
    before = np.concatenate([[0], np.cumsum(mask)])
    if _is_index(entry):
        return int(before[positive(int(entry), len(mask))])
    start, stop, step = entry.indices(len(mask))
    if step > 0:
        offset = start if step > 1 and start < step and stop == len(mask) else int(before[start])
        return slice(offset, int(before[max(start, stop)]), step if step > 1 else None)
    first, last = int(before[stop + 1]), int(before[start + 1]) - 1
    if last < first:
        return slice(0, 0)
    return slice(last, first - 1 if first > 0 else None, -1)


def trace_split(call: Call, context: Context) -> Traced:
    """keras.ops.split and array_split: parts of the channels, or the same channels at other places."""
    ids, shape = call.inputs[0], call.shapes[0]
    axis = positive(call.operation.axis, len(shape))
    if axis == 0:
        raise NoRuleError("splits the batch")
    if long_axis(ids) != axis:
        return Traced((ids,) * len(call.output_shapes), (Work("copy"),))
    channels = along(ids, shape, axis)
    ends = np.cumsum([part[axis] for part in call.output_shapes])
    parts = np.split(channels, ends[:-1])
    for number, part in enumerate(parts):
        context.layer_axis(call, f"part {number}", part)
    return Traced(tuple(on_axis(part, len(shape), axis) for part in parts), (Work("copy"),))


def resize_split(config: Config, kept: KeptLengths) -> Config:
    """The places to split at, counted over the kept channels; equal parts stay a number of sections."""
    lengths = [kept[f"part {number}"] for number in range(len(kept))]
    if isinstance(config["indices_or_sections"], int) and len(set(lengths)) == 1:
        return config
    return {**config, "indices_or_sections": tuple(int(end) for end in np.cumsum(lengths)[:-1])}


def trace_unstack(call: Call, context: Context) -> Traced:
    """An axis taken apart; taking apart the channels makes every one of them stay."""
    ids, rank = call.inputs[0], len(call.shapes[0])
    axis = positive(call.operation.axis, rank)
    if axis == 0:
        raise NoRuleError("unstacks the batch")
    if long_axis(ids) == axis:
        raise NoRuleError("unstacks the channels")
    return Traced((np.squeeze(ids, axis),) * len(call.output_shapes), (Work("copy"),))


def trace_take(call: Call, context: Context) -> Traced:
    """keras.ops.take with constant indices, or with computed ones along an axis without channels."""
    source, indices = argument(call, 0, "x"), argument(call, 1, "indices")
    if not isinstance(source, Operand) or call.operation.axis is None:
        raise NoRuleError("takes from a constant or a flattened tensor")
    rank = len(source.shape)
    axis = positive(call.operation.axis, rank)
    if axis == 0:
        raise NoRuleError("takes along the batch")
    channels = long_axis(source.ids)
    if isinstance(indices, Operand):
        if channels == axis:
            raise NoRuleError("takes channels at computed places")
        if (indices.ids != FROZEN).any():
            context.freeze(indices.ids, call, "used as places")
        added = len(indices.shape) - 1
    else:
        added = np.ndim(indices) - 1
    if channels != axis:
        place = None if channels is None else channels + (added if channels > axis else 0)
        return single(laid(source.ids, output_rank(call), place), Work("copy"))
    if added != 0:
        raise NoRuleError("takes channels into several axes")
    length = source.shape[axis]
    places = np.asarray(indices) % length
    all_channels = context.layer_axis(call, "channels", along(source.ids, source.shape, axis))
    return single(on_axis(all_channels[places], rank, axis), Work("copy"))


def rewrite_take(args: tuple[Any, ...], kwargs: Mapping[str, Any], masks: KeptMasks) -> Arguments:
    """Constant indices of the kept channels, counted over the kept ones."""
    mask = masks["channels"]
    indices = np.asarray(args[1] if len(args) > 1 else kwargs["indices"])
    places = indices % len(mask)
    kept = (np.cumsum(mask) - 1)[places[mask[places]]].astype(indices.dtype)
    return (args[0] if args else kwargs["x"], kept), {}


def trace_order(call: Call, context: Context) -> Traced:
    """Results that only say where something is (argmax, sort order): the channels they compare must stay."""
    axis = call.operation.axis
    ids, rank = call.inputs[0], len(call.shapes[0])
    channels = long_axis(ids)
    if axis is None or channels == positive(axis, rank):
        context.freeze(ids, call, "compares the channels")
        return single(np.full((1,) * output_rank(call), FROZEN, dtype=np.int64), Work("copy"))
    gone = positive(axis, rank)
    if output_rank(call) == rank:
        return single(ids, Work("copy"))
    return single(np.squeeze(ids, gone), Work("copy"))


GET_ITEM = Rule(trace_get_item, rewrite=rewrite_get_item)
SPLIT = Rule(trace_split, resize_split)
UNSTACK = Rule(trace_unstack)
TAKE = Rule(trace_take, rewrite=rewrite_take)
ORDER = Rule(trace_order)
