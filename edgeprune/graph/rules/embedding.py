"""Embedding: embeddings (input_dim, output_dim); a row is looked up, its entries are channels."""

from __future__ import annotations

from edgeprune.graph.context import FROZEN, Call, Context, NoRuleError, Traced, Work, on_axis
from edgeprune.graph.rules.rule import Config, KeptLengths, Rule, single


def trace(call: Call, context: Context) -> Traced:
    """Fresh ids on the output dimension."""
    layer = call.operation
    if getattr(layer, "quantization_mode", None) or layer.lora_enabled:
        raise NoRuleError("Embedding that is quantized or has LoRA weights")
    if (call.inputs[0] != FROZEN).any():
        context.freeze(call.inputs[0], call, "used as places in a table")
    made = context.issued(call, "out", layer.output_dim)
    context.weight(call, layer._embeddings, "kernel", {1: made}, produces=1)
    return single(on_axis(made, len(call.output_shapes[0]), -1), Work("copy"))


def resize(config: Config, kept: KeptLengths) -> Config:
    """A narrower table."""
    return {**config, "output_dim": kept["out"]}


EMBEDDING = Rule(trace, resize)
