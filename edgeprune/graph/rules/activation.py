"""Activation functions: which of them treat every channel alone, and what a layer's own activation costs.

A function that is not known here may mix channels, so the channels that reach it must stay.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeprune.graph.context import Call, Context, NoRuleError, Traced, Work
from edgeprune.graph.rules.rule import Rule, single

# Functions that runtimes fold into the operation before them.
FUSED = ("linear", "relu", "relu6")
ELEMENTWISE = frozenset(
    (
        "celu",
        "elu",
        "exponential",
        "gelu",
        "hard_shrink",
        "hard_sigmoid",
        "hard_silu",
        "hard_swish",
        "hard_tanh",
        "leaky_relu",
        "linear",
        "log_sigmoid",
        "mish",
        "relu",
        "relu6",
        "selu",
        "sigmoid",
        "silu",
        "soft_shrink",
        "softplus",
        "softsign",
        "sparse_plus",
        "sparse_sigmoid",
        "squareplus",
        "swish",
        "tanh",
        "tanh_shrink",
        "threshold",
        "exp",
        "abs",
        "square",
    )
)
# Over the last axis.
MIXING = frozenset(("softmax", "log_softmax", "sparsemax"))
LAYERS = frozenset(("ReLU", "LeakyReLU", "ELU"))


def function_name(activation: Any) -> str | None:
    """The name of one of Keras' own functions; None for anything else."""
    module = getattr(activation, "__module__", None) or ""
    if not module.startswith("keras."):
        return None
    if type(activation).__module__.startswith("keras.") and type(activation).__name__ in LAYERS:
        return "leaky_relu"  # an activation layer given as a function; never folded
    return getattr(activation, "__name__", None)


def hold(call: Call, context: Context, ids: np.ndarray, activation: Any) -> None:
    """Freeze what an activation mixes. ids: of the tensor it is applied to, or (channels,)."""
    name = function_name(activation)
    if name in MIXING:
        if ids.shape[-1] > 1:
            context.freeze(ids, call, f"{name} over the channels")
    elif name not in ELEMENTWISE:
        shown = name or getattr(activation, "__name__", type(activation).__name__)
        context.freeze(ids, call, f"no rule for the activation {shown}")


def own_activation(call: Call, context: Context, made: np.ndarray) -> tuple[Work, ...]:
    """What a layer's own activation does to the channels it makes, `made` (channels,).

    No work for the ReLU family, which runtimes fold into the kernel.
    """
    activation = call.operation.activation
    if activation is None:
        return ()
    hold(call, context, made, activation)
    return () if function_name(activation) in FUSED else (Work("copy", variables=()),)


def trace_activation(call: Call, context: Context) -> Traced:
    """The Activation layer."""
    activation = call.operation.activation
    if call.output_shapes[0] != call.shapes[0]:
        raise NoRuleError("an activation that changes the shape")
    hold(call, context, call.inputs[0], activation)
    return single(call.inputs[0], Work("fusable" if function_name(activation) in FUSED else "copy"))


def trace_relu(call: Call, context: Context) -> Traced:
    """The ReLU layer; runtimes fold it when it is a plain one clipped at nothing or 6."""
    layer = call.operation
    plain = not layer.negative_slope and not layer.threshold and layer.max_value in (None, 6)
    return single(call.inputs[0], Work("fusable" if plain else "copy"))


ACTIVATION = Rule(trace_activation)
RELU = Rule(trace_relu)
