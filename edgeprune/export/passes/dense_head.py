"""Turn a head of 1x1 convolutions behind global pooling into dense layers: MobileNetV1's and V3's.

A 1x1 convolution on a pooled (1, 1, channels) value is a matrix product. XNNPACK's sparse cluster would take it in and
fail to load where a RESHAPE or SOFTMAX reads its output (LiteRT 2.1.6 and 2.3: "failed to reshape runtime"). Where it
loads, sparse kernels spend 13 instructions per weight on a single pixel: at 90 % zeros more than the dense kernel.
"""

from __future__ import annotations

from edgeprune.export.passes.layer_checks import is_a, is_operation, is_pointwise, layer_refusal
from edgeprune.export.passes.layer_graph import Call, LayerGraph, remade
from edgeprune.export.passes.report import PassReport, Refusal

NAME = "dense_head"
EXACTNESS = "exact up to float32 rounding: the same products, summed in another order"

_ON_ANY_RANK = ("Activation", "BatchNormalization", "Dropout", "Identity", "LeakyReLU", "ReLU")
_OPERATIONS_ON_ANY_RANK = ("Relu", "Relu6", "HardSilu", "HardSigmoid", "Sigmoid", "Silu", "Tanh")


def refusal(graph: LayerGraph, head: list[Call]) -> str | None:
    """Why the calls from a pooling to the Flatten or Reshape behind it stay."""
    return next(filter(None, (layer_refusal(graph, call) for call in head)), None)


def run(graph: LayerGraph) -> PassReport:
    """Rewrite every chain: pooling with keepdims, 1x1 convolutions and activations, Flatten or Reshape."""
    changed, refusals = [], []
    for call in list(graph.calls):
        if not is_a(call, "GlobalAveragePooling2D", "GlobalMaxPooling2D") or not call.operation.keepdims:
            continue
        head = _head(graph, call)
        if not head:
            continue
        reason = refusal(graph, head)
        if reason is not None:
            refusals.append(Refusal(call.name, reason))
            continue
        _write_dense(graph, head)
        changed += [member.name for member in head if is_pointwise(member)]
    return PassReport(NAME, EXACTNESS, tuple(changed), tuple(refusals))


def _head(graph: LayerGraph, pooling: Call) -> list[Call]:
    """Pooling, what follows, and the call that drops the rank; empty where the chain is another one."""
    chain = [pooling]
    while True:
        reader = graph.only_reader(chain[-1].output)
        if reader is None:
            return []
        chain.append(reader)
        if is_a(reader, "Flatten", "Reshape"):
            flat = reader.output.shape[1:] == (reader.tensors[0].shape[-1],)
            return chain if flat and any(is_pointwise(call) for call in chain) else []
        if (
            not is_pointwise(reader)
            and not is_a(reader, *_ON_ANY_RANK)
            and not is_operation(reader, *_OPERATIONS_ON_ANY_RANK)
        ):
            return []


def _write_dense(graph: LayerGraph, head: list[Call]) -> None:
    import keras

    pooling, *middle, flatten = head
    tensor = graph.insert(flatten, remade(pooling.operation, keepdims=False), *pooling.tensors)
    for call in middle:
        if not is_pointwise(call):
            new = call.operation if not is_a(call, "BatchNormalization") else remade(call.operation, axis=-1)
            tensor = graph.insert(flatten, new, tensor)
            if new is not call.operation and hasattr(new, "set_weights"):
                new.set_weights(call.operation.get_weights())
            continue
        layer = call.operation
        new = keras.layers.Dense(
            layer.filters,
            activation=layer.activation,
            use_bias=layer.use_bias,
            kernel_initializer=layer.kernel_initializer,
            bias_initializer=layer.bias_initializer,
            kernel_regularizer=layer.kernel_regularizer,
            bias_regularizer=layer.bias_regularizer,
            dtype=layer.dtype_policy,
            name=layer.name,
        )
        tensor = graph.insert(flatten, new, tensor)
        kernel, *bias = layer.get_weights()
        new.set_weights([kernel[0, 0], *bias])
        new.trainable = layer.trainable
    graph.replace(flatten, tensor)
