"""TimeDistributed: the wrapped layer's own rule, for one time step."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from edgeprune.graph.context import Call, Context, NoRuleError, Traced, Work
from edgeprune.graph.rules.call_arguments import argument
from edgeprune.graph.rules.rule import Config, KeptLengths, Rule


def trace(call: Call, context: Context) -> Traced:
    """Ids pass without the time axis; what the inner layer registers is registered for the wrapper too."""
    import keras

    from edgeprune.graph.rules.table import rule_for

    inner = call.operation.layer
    rule = rule_for(inner)
    if rule is None:
        raise NoRuleError(f"TimeDistributed around {type(inner).__name__}, which has no rule")
    source = argument(call, 0, "inputs")
    others = [ids for ids in call.inputs if ids is not source.ids]
    if any(ids.size > 1 for ids in others):
        raise NoRuleError("a mask with channels")
    if source.ids.shape[1] > 1:
        raise NoRuleError("channels on the time axis")
    step = replace(
        call,
        operation=inner,
        inputs=(np.squeeze(source.ids, 1),),
        shapes=(_without_time(source.shape),),
        output_shapes=tuple(map(_without_time, call.output_shapes)),
        args=(keras.KerasTensor(_without_time(source.shape)),),
        kwargs={},
        outputs=(),
        readers={},
    )
    traced = rule.trace(step, context)
    for (operation, name), ids in list(context.layer_ids.items()):
        if operation == id(inner):
            context.layer_axis(call, name, ids)
    steps = source.shape[1] or 1
    return Traced(
        tuple(np.expand_dims(ids, 1) for ids in traced.outputs), tuple(_repeated(work, steps) for work in traced.work)
    )


def _without_time(shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
    return (shape[0], *shape[2:])


def _repeated(work: Work, steps: int) -> Work:
    """The same work at every time step."""
    inner = None if work.inner is None else (work.inner[0] * steps, work.inner[1])
    return replace(work, factor=work.factor * steps, inner=inner)


def resize(config: Config, kept: KeptLengths) -> Config:
    """The inner layer's config, changed by its own rule; it is built again from its new input."""
    from edgeprune.graph.rules.table import LAYER_RULES

    layer: dict[str, Any] = {key: value for key, value in config["layer"].items() if key != "build_config"}
    layer["config"] = LAYER_RULES[layer["class_name"]].resize(layer["config"], kept)
    return {**config, "layer": layer}


TIME_DISTRIBUTED = Rule(trace, resize)
