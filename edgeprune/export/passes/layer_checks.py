"""What every pass asks of a layer before it changes it."""

from __future__ import annotations

from typing import Any

from edgeprune.export.passes.layer_graph import Call, LayerGraph

CHANNELS_FIRST = "channels come first; TFLite's layout has them last"
SHARED = "the layer is called more than once, and the change would reach its other calls"


def is_a(call: Call, *classes: str) -> bool:
    """Whether a call is of one of these Keras layer classes, exactly: a subclass may compute something else."""
    import keras

    return any(type(call.operation) is getattr(keras.layers, name) for name in classes)


def is_operation(call: Call, *names: str) -> bool:
    """Whether a call is of one of these `keras.ops` operations, by class name."""
    import keras

    kind = type(call.operation)
    return (
        not isinstance(call.operation, keras.layers.Layer)
        and kind.__name__ in names
        and kind.__module__.startswith("keras.")
    )


def layer_refusal(graph: LayerGraph, call: Call) -> str | None:
    """Why no pass may change this layer."""
    if graph.is_shared(call):
        return SHARED
    if getattr(call.operation, "data_format", "channels_last") != "channels_last":
        return CHANNELS_FIRST
    if getattr(call.operation, "quantization_mode", None) or getattr(call.operation, "lora_enabled", False):
        return "the layer is quantized or has LoRA weights"
    return None


def is_linear(layer: Any) -> bool:
    import keras

    return layer.activation is None or layer.activation is keras.activations.linear


def is_pointwise(call: Call) -> bool:
    """Whether a call is a plain 1x1 convolution, stride 1."""
    layer = call.operation
    return is_a(call, "Conv2D") and layer.kernel_size == (1, 1) and layer.strides == (1, 1) and layer.groups == 1
