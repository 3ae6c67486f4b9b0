"""Attention without projections: keras.layers.Attention and AdditiveAttention, keras.ops.dot_product_attention.

Query and key meet in a sum over their channels, which a removed channel would change: these stay. The channels of the
value pass to the output one by one, and so do the heads of dot_product_attention.
"""

from __future__ import annotations

import numpy as np

from edgeprune.graph.context import FROZEN, Call, Context, NoRuleError, Traced, Work, elements, on_axis
from edgeprune.graph.rules.call_arguments import Operand, argument
from edgeprune.graph.rules.layout import laid, long_axis
from edgeprune.graph.rules.rule import Rule

# An axis of length 1 that nothing changes.
ONE = np.full(1, FROZEN, dtype=np.int64)
SUMMED = "summed over in attention scores"


def trace_layer(call: Call, context: Context) -> Traced:
    """inputs = [query, value] or [query, value, key], each (batch, steps, channels)."""
    listed = argument(call, 0, "inputs")
    query, value = listed[:2]
    key = listed[2] if len(listed) > 2 else value
    if any(long_axis(one.ids) not in (None, 2) for one in (query, key, value)):
        raise NoRuleError("attention with channels on the steps")
    for one in (query, key):
        if one.ids.size > 1:
            context.freeze(one.ids, call, SUMMED)
    for variable in call.operation.weights:
        context.weight(call, variable, "other", {})
    channels = value.ids.reshape(-1)
    targets, sources = query.shape[1] or 1, value.shape[1] or 1
    over = (channels,) if value.ids.size > 1 else ()
    width = 1 if over else value.shape[-1]
    work = (
        Work("dense", targets * sources * query.shape[-1], (), (targets * sources, ONE)),
        Work("copy", 0, (), (targets * sources, ONE), ()),
        Work("dense", targets * sources * width, over, None, ()),
    )
    scores = [np.full((1,) * len(shape), FROZEN, dtype=np.int64) for shape in call.output_shapes[1:]]
    return Traced((laid(channels, 3, 2), *scores), work)


def trace_operation(call: Call, context: Context) -> Traced:
    """query, key and value (batch, steps, heads, dim): heads at equal places go together, dim stays."""
    query, key, value = (argument(call, place, name) for place, name in enumerate(("query", "key", "value")))
    operands = (query, key, value)
    if not all(isinstance(one, Operand) and long_axis(one.ids) in (None, 2) for one in operands):
        raise NoRuleError("attention with channels outside the heads")
    if len({one.shape[2] for one in operands}) > 1:
        raise NoRuleError("fewer key heads than query heads")
    for place, name in ((3, "bias"), (4, "mask")):
        extra = argument(call, place, name)
        if extra is not None and extra.shape[-3:-2] not in ((), (1,)):
            raise NoRuleError(f"a {name} per head")
    widest = max(operands, key=lambda one: one.ids.size).ids
    for one in operands:
        if one.ids is not widest:
            context.unite(widest, one.ids)
    heads = widest.reshape(-1)
    over = (heads,) if len(heads) > 1 else ()
    count = 1 if over else query.shape[2]
    scores = elements((1, query.shape[1], key.shape[1], count))
    inner = (scores, heads if over else ONE)
    work = (
        Work("dense", scores * query.shape[3], over, inner),
        Work("copy", 0, (), inner),
        Work("dense", scores * value.shape[3], over),
    )
    return Traced((on_axis(heads, 4, 2) if over else laid(heads, 4, None),), work)


LAYER = Rule(trace_layer)
OPERATION = Rule(trace_operation)
