"""scale x + offset, in a form that XNNPACK's sparse clusters take; scale and offset are numbers or one per channel.

In the convolution in front where that is possible. Otherwise, for pooled (1, 1, channels) values, with constants of
rank 4; for images, where clusters refuse a constant operand of any rank (XNNPACK src/subgraph.c looks at the first
operand's shape for both), by a 1x1 convolution with a diagonal kernel, which is sparse itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeprune.export.passes.layer_checks import is_a, is_linear, layer_refusal
from edgeprune.export.passes.layer_graph import Call, LayerGraph, remade

AFFINE_LAYERS = ("Conv2D", "DepthwiseConv2D", "Dense")


def affine(graph: LayerGraph, call: Call, tensor: Any, scale: Any, offset: Any) -> Any:
    """scale tensor + offset in front of `call`, which reads the tensor; None leaves a part out. tensor has rank 4."""
    import keras

    source = graph.producer(tensor)
    if (
        source is not None
        and is_a(source, *AFFINE_LAYERS)
        and is_linear(source.operation)
        and graph.only_reader(tensor) is call
        and layer_refusal(graph, source) is None
    ):
        return with_affine(graph, source, scale, offset)
    if tuple(tensor.shape[1:3]) != (1, 1):
        return _diagonal(graph, call, tensor, scale, offset)
    if scale is not None:
        tensor = graph.insert(call, keras.ops.multiply, tensor, _rank4(scale, tensor))
    if offset is not None:
        tensor = graph.insert(call, keras.ops.add, tensor, _rank4(offset, tensor))
    return tensor


def with_affine(graph: LayerGraph, call: Call, scale: Any, offset: Any, **changes: Any) -> Any:
    """A new convolution in front of an old one, scale and offset in its kernel and bias. changes: of its config."""
    layer = call.operation
    new = remade(layer, use_bias=layer.use_bias or offset is not None, **changes)
    output = graph.insert(call, new, *call.tensors)
    channels = output.shape[-1]
    factor = np.broadcast_to(np.ravel(1.0 if scale is None else scale), (channels,)).astype(np.float64)
    kernel, *bias = layer.get_weights()
    shape = kernel.shape[-2:] if is_a(call, "DepthwiseConv2D") else (channels,)
    # + 0.0 makes the -0.0 of a zero weight with a negative scale a plain zero
    weights = [kernel * factor.reshape(shape) + 0.0]
    if new.use_bias:
        shift = np.ravel(0.0 if offset is None else offset)
        weights.append((bias[0] if bias else np.zeros(channels)) * factor + shift)
    new.set_weights([value.astype(np.float32) for value in weights])
    new.trainable = layer.trainable
    return output


def _diagonal(graph: LayerGraph, call: Call, tensor: Any, scale: Any, offset: Any) -> Any:
    import keras

    channels = tensor.shape[-1]
    layer = keras.layers.Conv2D(
        channels, 1, use_bias=offset is not None, dtype=tensor.dtype, name=f"{call.name}_affine"
    )
    output = graph.insert(call, layer, tensor)
    factor = np.broadcast_to(np.ravel(1.0 if scale is None else scale), (channels,))
    weights = [np.diag(factor)[None, None]]
    if offset is not None:
        weights.append(np.broadcast_to(np.ravel(offset), (channels,)))
    layer.set_weights(weights)
    return output


def _rank4(value: Any, tensor: Any) -> np.ndarray:
    """(1, 1, 1, 1) or (1, 1, 1, channels), of the tensor's type."""
    return np.asarray(value, tensor.dtype).reshape(1, 1, 1, -1)
