"""Let global pooling keep its rank 4 where something gives it back: squeeze-excite as EfficientNet writes it, and with
Dense layers between the pooling and the Reshape.

XNNPACK's sparse clusters have no RESHAPE inside. A Dense layer on (1, 1, channels) they take as the 1x1 convolution
that it is.
"""

from __future__ import annotations

from edgeprune.export.passes.layer_checks import is_a, is_operation, layer_refusal
from edgeprune.export.passes.layer_graph import Call, LayerGraph, remade
from edgeprune.export.passes.report import PassReport, Refusal

NAME = "keep_pooled_rank"
EXACTNESS = "exact"

# They compute the same on the last axis of any rank.
_ON_LAST_AXIS = ("Activation", "Dense", "Dropout", "Identity", "LeakyReLU", "ReLU")
_OPERATIONS_ON_ANY_RANK = ("Relu", "Relu6", "HardSilu", "HardSigmoid", "Sigmoid", "Silu", "Tanh")


def refusal(graph: LayerGraph, chain: list[Call]) -> str | None:
    """Why the calls from a global pooling to the one that makes (1, 1, channels) stay."""
    if any(graph.only_reader(call.output) is None for call in chain[:-1]):
        return "its output is also used without the Reshape"
    return layer_refusal(graph, chain[0])


def run(graph: LayerGraph) -> PassReport:
    """Pool with keepdims and drop the Reshape, wherever one follows that gives (1, 1, channels)."""
    changed, refusals = [], []
    for call in list(graph.calls):
        if not is_a(call, "GlobalAveragePooling2D", "GlobalMaxPooling2D") or call.operation.keepdims:
            continue
        chain = _chain(graph, call)
        if not chain:
            continue
        reason = refusal(graph, chain)
        if reason is not None:
            refusals.append(Refusal(call.name, reason))
            continue
        _keep_rank(graph, chain)
        changed.append(call.name)
    return PassReport(NAME, EXACTNESS, tuple(changed), tuple(refusals))


def _chain(graph: LayerGraph, pooling: Call) -> list[Call]:
    """The calls from a pooling to the one that makes (1, 1, channels) of its vector; empty where there is none."""
    chain = [pooling]
    while True:
        made = chain[-1].output
        readers = graph.readers(made)
        shapers = [reader for reader in readers if _gives_rank_back(reader)]
        if shapers:
            return [*chain, shapers[0]]
        if len(readers) != 1 or not (
            is_a(readers[0], *_ON_LAST_AXIS)
            or is_operation(readers[0], *_OPERATIONS_ON_ANY_RANK)
            or is_operation(readers[0], "ExpandDims")
        ):
            return []
        chain.append(readers[0])


def _gives_rank_back(call: Call) -> bool:
    shape = call.output.shape
    shaper = is_a(call, "Reshape") or is_operation(call, "Reshape", "ExpandDims")
    return shaper and len(shape) == 4 and tuple(shape[1:3]) == (1, 1)


def _keep_rank(graph: LayerGraph, chain: list[Call]) -> None:
    pooling, *middle, end = chain
    tensor = graph.insert(end, remade(pooling.operation, keepdims=True), *pooling.tensors)
    for call in middle:
        if is_operation(call, "ExpandDims"):
            continue
        layer = call.operation
        new = remade(layer) if is_a(call, *_ON_LAST_AXIS) else layer
        tensor = graph.insert(end, new, tensor)
        if getattr(layer, "weights", None):
            new.set_weights(layer.get_weights())
            new.trainable = layer.trainable
    graph.replace(end, tensor)
