"""MultiHeadAttention and GroupQueryAttention: whole heads go, the length of a head stays.

Kernels: query, key, value, gate (c_in, heads, dim), bias (heads, dim); output (heads, dim, c_out), bias (c_out,).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeprune.graph.context import FROZEN, Call, Context, NoRuleError, Traced, Work, along, elements, on_axis
from edgeprune.graph.rules.call_arguments import Operand, argument
from edgeprune.graph.rules.rule import Config, KeptLengths, Rule


def trace_multi_head(call: Call, context: Context) -> Traced:
    """Fresh ids for heads and for the output channels."""
    layer = call.operation
    query, key, value = _inputs(call, context)
    heads = context.issued(call, "heads", layer.num_heads)
    outputs = layer._output_shape or (call.output_shapes[0][-1],)
    made = context.issued(call, "out", outputs[0]) if len(outputs) == 1 else None
    _projections(call, context, (query, key, value), heads, heads)
    _output(call, context, heads, made)
    return _attended(call, (query, key, value), (heads, heads), made, (layer.key_dim, layer.value_dim))


def resize_multi_head(config: Config, kept: KeptLengths) -> Config:
    """Fewer heads. The output's width no longer follows from the query's."""
    changed = {**config, "num_heads": kept["heads"]}
    return {**changed, "output_shape": (kept["out"],)} if "out" in kept else changed


def trace_grouped_query(call: Call, context: Context) -> Traced:
    """A key head goes with all query heads that share it; of a single key head, query heads go one by one.

    The layer gives its output the query's width and asks the same width of the value, so they share the query's
    channels.
    """
    layer = call.operation
    query, key, value = _inputs(call, context)
    context.unite(query, value)
    if layer.num_key_value_heads > 1:
        key_heads = context.issued(call, "key heads", layer.num_key_value_heads)
        query_heads = np.repeat(key_heads, layer.num_repeats)
    else:
        key_heads = np.full(1, FROZEN, dtype=np.int64)
        query_heads = context.issued(call, "query heads", layer.num_query_heads)
    _projections(call, context, (query, key, value), query_heads, key_heads)
    _output(call, context, query_heads, query)
    return _attended(call, (query, key, value), (query_heads, key_heads), query, (layer.head_dim, layer.head_dim))


def resize_grouped_query(config: Config, kept: KeptLengths) -> Config:
    """Every key head left keeps as many query heads as the others."""
    if "query heads" in kept:
        return {**config, "num_query_heads": kept["query heads"]}
    repeats = config["num_query_heads"] // config["num_key_value_heads"]
    left = kept["key heads"]
    return {**config, "num_query_heads": left * repeats, "num_key_value_heads": left}


def _operands(call: Call) -> tuple[Operand, Operand, Operand]:
    """query, key, value; without a key it is the value."""
    query, value, key = (argument(call, place, name) for place, name in enumerate(("query", "value", "key")))
    return query, key if isinstance(key, Operand) else value, value


def _inputs(call: Call, context: Context) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The channel ids of query, key and value; masks must not carry channels."""
    layer = call.operation
    dense = (layer._query_dense, layer._key_dense, layer._value_dense, layer._output_dense)
    if any(getattr(one, "quantization_mode", None) or one.lora_enabled for one in dense):
        raise NoRuleError("attention that is quantized or has LoRA weights")
    for place, name in enumerate(("query_mask", "value_mask", "key_mask", "attention_mask"), start=3):
        mask = argument(call, place, name)
        if isinstance(mask, Operand) and mask.ids.size > 1:
            raise NoRuleError(f"{name} with channels")
        per_head = getattr(mask, "shape", ())[1:-2] if name == "attention_mask" else ()
        if any(length != 1 for length in per_head):
            raise NoRuleError("an attention mask per head")
    if len(call.output_shapes) > 1 and len(call.shapes[0]) != 3:
        raise NoRuleError("scores of attention over several axes")
    found = []
    for name, operand in zip(("query", "key", "value"), _operands(call), strict=True):
        found.append(context.layer_axis(call, name, along(operand.ids, operand.shape, -1)))
    return found[0], found[1], found[2]


def _projections(
    call: Call,
    context: Context,
    inputs: tuple[np.ndarray, np.ndarray, np.ndarray],
    query_heads: np.ndarray,
    key_heads: np.ndarray,
) -> None:
    layer = call.operation
    query, key, value = inputs
    dense = [
        (layer._query_dense, query, query_heads),
        (layer._key_dense, key, key_heads),
        (layer._value_dense, value, key_heads),
    ]
    if _gated(layer):
        dense.append((layer._gate_dense, query, query_heads))
    for one, incoming, heads in dense:
        context.weight(call, one._kernel, "kernel", {0: incoming, 1: heads}, produces=1)
        if one.bias is not None:
            context.weight(call, one.bias, "bias", {0: heads})


def _gated(layer: Any) -> bool:
    """Whether a sigmoid gate of the query multiplies the heads; older Keras releases have none."""
    return bool(getattr(layer, "use_gate", getattr(layer, "_use_gate", False)))


def _output(call: Call, context: Context, heads: np.ndarray, made: np.ndarray | None) -> None:
    dense = call.operation._output_dense
    axes = {0: heads} if made is None else {0: heads, 2: made}
    context.weight(call, dense._kernel, "kernel", axes, produces=None if made is None else 2)
    if dense.bias is not None:
        context.weight(call, dense.bias, "bias", {} if made is None else {0: made})


def _attended(
    call: Call,
    inputs: tuple[np.ndarray, np.ndarray, np.ndarray],
    heads: tuple[np.ndarray, np.ndarray],
    made: np.ndarray | None,
    dims: tuple[int, int],
) -> Traced:
    """Output ids, attention scores by head when they are returned, and the work of every step."""
    layer = call.operation
    query_heads, key_heads = heads
    key_dim, value_dim = dims
    operands = _operands(call)
    targets, sources = (elements(one.shape, (-1,)) for one in operands[:2])
    scores = _score_count(layer, operands[0].shape, operands[1].shape)

    def project(dense: Any, incoming: np.ndarray, made_heads: np.ndarray, size: int) -> Work:
        return Work("dense", size, (incoming, made_heads), (size, made_heads), (dense._kernel, dense.bias))

    work = [
        project(layer._query_dense, inputs[0], query_heads, targets * key_dim),
        project(layer._key_dense, inputs[1], key_heads, sources * key_dim),
        project(layer._value_dense, inputs[2], key_heads, sources * value_dim),
        Work("dense", scores * key_dim, (query_heads,), (scores, query_heads), ()),
        Work("copy", 0, (), (scores, query_heads), ()),
        Work("dense", scores * value_dim, (query_heads,), (targets * value_dim, query_heads), ()),
    ]
    if _gated(layer):
        work.append(project(layer._gate_dense, inputs[0], query_heads, targets * value_dim))
    fixed = 1 if made is not None else elements((1, *call.output_shapes[0][len(operands[0].shape) - 1 :]))
    over = (query_heads,) if made is None else (query_heads, made)
    output = layer._output_dense
    work.append(Work("dense", targets * value_dim * fixed, over, None, (output._kernel, output.bias)))

    rank = len(call.output_shapes[0])
    first = np.full((1,) * rank, FROZEN, dtype=np.int64) if made is None else on_axis(made, rank, -1)
    if len(call.output_shapes) == 1:
        return Traced((first,), tuple(work))
    return Traced((first, on_axis(query_heads, 4, 1)), tuple(work))


def _score_count(layer: Any, query_shape: tuple[int | None, ...], key_shape: tuple[int | None, ...]) -> int:
    """Scores of one head for batch 1: targets x sources over the attention axes, times the other axes."""
    rank = len(query_shape)
    axes = getattr(layer, "_attention_axes", None) or tuple(range(1, rank - 1))
    attended = {axis % rank for axis in axes}
    others = [length for d, length in enumerate(query_shape[1:-1], start=1) if d not in attended]
    both = [shape[axis] for shape in (query_shape, key_shape) for axis in attended]
    return elements((1, *others, *both))


MULTI_HEAD = Rule(trace_multi_head, resize_multi_head)
GROUPED_QUERY = Rule(trace_grouped_query, resize_grouped_query)
