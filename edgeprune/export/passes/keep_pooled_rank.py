"""Let global pooling keep its rank 4 where a Reshape gives it back: squeeze-excite as EfficientNet writes it.

XNNPACK's sparse clusters have no RESHAPE inside.
"""

from __future__ import annotations

from edgeprune.export.passes.layer_checks import is_a, layer_refusal
from edgeprune.export.passes.layer_graph import Call, LayerGraph, remade
from edgeprune.export.passes.report import PassReport, Refusal

NAME = "keep_pooled_rank"
EXACTNESS = "exact"


def refusal(graph: LayerGraph, call: Call) -> str | None:
    """Why a global pooling whose output is reshaped to (1, 1, channels) stays."""
    if graph.only_reader(call.output) is None:
        return "its output is also used without the Reshape"
    return layer_refusal(graph, call)


def run(graph: LayerGraph) -> PassReport:
    """Pool with keepdims and drop the Reshape, wherever one follows that gives (1, 1, channels)."""
    changed, refusals = [], []
    for call in list(graph.calls):
        if not is_a(call, "GlobalAveragePooling2D", "GlobalMaxPooling2D") or call.operation.keepdims:
            continue
        wanted = (1, 1, call.output.shape[-1])
        reshapes = [r for r in graph.readers(call.output) if is_a(r, "Reshape") and r.output.shape[1:] == wanted]
        if not reshapes:
            continue
        reason = refusal(graph, call)
        if reason is not None:
            refusals.append(Refusal(call.name, reason))
            continue
        pooled = graph.insert(call, remade(call.operation, keepdims=True), *call.tensors)
        graph.replace(reshapes[0], pooled)
        changed.append(call.name)
    return PassReport(NAME, EXACTNESS, tuple(changed), tuple(refusals))
