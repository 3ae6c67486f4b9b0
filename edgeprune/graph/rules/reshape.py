"""Reshape and Flatten: a reshape works on blocks of axes that keep their product; only the channels' block matters.

(batch, t, c) -> (batch, t, heads, dim) has the blocks batch -> batch, t -> t and c -> heads, dim.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgeprune.graph.context import Call, Context, NoRuleError, Traced, Work
from edgeprune.graph.rules.layout import laid, long_axis
from edgeprune.graph.rules.lookahead import preferred_axis
from edgeprune.graph.rules.rule import Config, KeptLengths, Rule, single

Shape = Sequence[int | None]


@dataclass(frozen=True)
class Block:
    """Axes [start, stop) of the input that become axes [target_start, target_stop) of the output."""

    start: int
    stop: int
    target_start: int
    target_stop: int


def blocks(shape: Shape, target: Shape) -> list[Block]:
    """The smallest blocks of axes with equal products, from the last axis on.

    Axes of unknown length match each other only when both shapes hold as many of them and the known lengths agree;
    otherwise the first block takes all that is left.
    """
    known, target_known = [n for n in shape if n is not None], [n for n in target if n is not None]
    aligned = len(shape) - len(known) == len(target) - len(target_known) and np.prod(known) == np.prod(target_known)
    found: list[Block] = []
    i, j = len(shape), len(target)
    while i > 0 and j > 0:
        stop, target_stop = i, j
        if shape[i - 1] is None and target[j - 1] is None and aligned:
            i, j = i - 1, j - 1
        else:
            i, j = _equal_products(shape, target, i, j)
        found.append(Block(i, stop, j, target_stop))
    if found and (i or j):  # axes of length 1 in front
        last = found.pop()
        found.append(Block(0, last.stop, 0, last.target_stop))
    return found[::-1]


def _equal_products(shape: Shape, target: Shape, i: int, j: int) -> tuple[int, int]:
    """Extend a block to the front until both sides have the same product; unknown lengths take everything."""
    left = right = 1
    while left == 1 or left != right:
        from_input = left <= right and i > 0
        if not from_input and j == 0:
            return 0, 0
        i, j = (i - 1, j) if from_input else (i, j - 1)
        length = shape[i] if from_input else target[j]
        if length is None:
            return 0, 0
        left, right = (left * length, right) if from_input else (left, right * length)
    return i, j


def reshaped(call: Call, context: Context) -> tuple[np.ndarray, int | None]:
    """Ids of the output, and the axis on which they lie."""
    ids, shape, target = call.inputs[0], call.shapes[0], call.output_shapes[0]
    axis = long_axis(ids)
    if axis is None:
        return laid(ids, len(target), None), None
    block = next(block for block in blocks(shape, target) if block.start <= axis < block.stop)
    inside, outside = shape[block.start : block.stop], target[block.target_start : block.target_stop]
    if None in inside or None in outside or block.start == 0:
        raise NoRuleError("reshaping channels together with a size that is not fixed")
    full = np.broadcast_to(ids.reshape(ids.shape[block.start : block.stop]), inside).reshape(outside)
    varying = [d for d in range(full.ndim) if (full != full.take([0], axis=d)).any()]
    if not varying:
        return full.reshape(-1)[:1].reshape((1,) * len(target)), None
    if len(varying) == 1:
        chosen = varying[0] + block.target_start
    else:
        chosen = preferred_axis(call, {d + block.target_start: full.shape[d] for d in varying})
    kept = full
    for d in range(full.ndim):
        if d != chosen - block.target_start:
            kept = kept.take([0], axis=d)
    if len(varying) > 1:
        context.unite(full, kept)
    return laid(kept, len(target), chosen), chosen


def trace_reshape(call: Call, context: Context) -> Traced:
    """keras.layers.Reshape and keras.ops.reshape; the output's channel axis is registered under its number."""
    ids, axis = reshaped(call, context)
    if axis is not None:
        context.layer_axis(call, str(axis), ids.reshape(-1))
    return single(ids, Work("free"))


def trace_flatten(call: Call, context: Context) -> Traced:
    """keras.layers.Flatten and keras.ops.ravel-like merges: nothing in the config names a length."""
    if getattr(call.operation, "data_format", None) == "channels_first" and len(call.shapes[0]) > 2:
        raise NoRuleError("Flatten with data_format channels_first")
    return single(reshaped(call, context)[0], Work("free"))


def _resized(shape: Sequence[int], kept: KeptLengths, skipped: int) -> tuple[int, ...]:
    """The target shape with the channel axis' new length; -1 stays. skipped: axes before the first one named."""
    return tuple(length if length == -1 else kept.get(str(axis + skipped), length) for axis, length in enumerate(shape))


def resize_layer(config: Config, kept: KeptLengths) -> Config:
    """keras.layers.Reshape names no batch axis."""
    return {**config, "target_shape": _resized(config["target_shape"], kept, 1)}


def resize_operation(config: Config, kept: KeptLengths) -> Config:
    """keras.ops.reshape names all axes."""
    return {**config, "newshape": _resized(config["newshape"], kept, 0)}


RESHAPE = Rule(trace_reshape, resize_layer)
RESHAPE_OPERATION = Rule(trace_reshape, resize_operation)
FLATTEN = Rule(trace_flatten)
