"""Layers and operations with several inputs: elementwise merges and concatenation."""

from __future__ import annotations

import numpy as np

from edgeprune.graph.context import Call, Context, NoRuleError, Traced, Work, along, on_axis
from edgeprune.graph.rules.rule import Rule, single


def trace_elementwise(call: Call, context: Context) -> Traced:
    """Add, multiply and the like unite the ids of their operands.

    A number among the arguments changes nothing. An operand with one channel that is spread over
    many must stay: removing it would remove all of them.
    """
    for value in (*call.args, *call.kwargs.values()):
        if not isinstance(value, (bool, int, float, str, type(None))) and np.ndim(_constant(value)) > 0:
            raise NoRuleError("arithmetic with a constant array")
    shape = call.output_shapes[0]
    aligned = []
    for ids, operand in zip(call.inputs, call.shapes, strict=True):
        ids = ids.reshape((1,) * (len(shape) - len(operand)) + ids.shape)
        operand = (1,) * (len(shape) - len(operand)) + tuple(operand)
        spread = any(length == 1 and whole != 1 for length, whole in zip(operand[1:], shape[1:], strict=True))
        aligned.append((ids, spread, int(np.prod(ids.shape))))
    widest = max(count for _, _, count in aligned)
    whole = next(ids for ids, _, count in aligned if count == widest)
    for ids, spread, count in aligned:
        if ids is whole:
            continue
        if spread and count == 1 and widest > 1:
            context.freeze(ids, call, "one channel is spread over many")
        else:
            context.unite(whole, ids)
    return single(whole, Work("copy"))


def _constant(value):
    """The array behind a constant argument; tensors of the graph and layer lists count as 0."""
    if hasattr(value, "_keras_history") or isinstance(value, (list, tuple, dict)):
        return 0
    return np.asarray(value)


def trace_concatenate(call: Call, context: Context) -> Traced:
    """Concatenation along the channel axis lays id arrays end to end; along another axis it unites them."""
    rank = len(call.output_shapes[0])
    axis = call.operation.axis % rank
    if axis == 0:
        raise NoRuleError("concatenation along the batch")
    parts = list(call.inputs)
    if all(part.shape[axis] == 1 for part in parts) and any(part.size > 1 for part in parts):
        for part in parts[1:]:
            context.unite(parts[0], part)
        return single(parts[0], Work("copy"))
    ids = np.concatenate([along(part, shape, axis) for part, shape in zip(parts, call.shapes, strict=True)])
    return single(on_axis(ids, rank, axis), Work("copy"))


ELEMENTWISE = Rule(trace_elementwise)
CONCATENATE = Rule(trace_concatenate)
