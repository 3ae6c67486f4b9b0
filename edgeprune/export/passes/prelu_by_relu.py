"""Compute PReLU on maps as (1 - a) relu(x) + a x, one a per channel.

XNNPACK's sparse clusters take no PRELU, but they take relu, additions and the diagonal 1x1 convolutions of affine.py.
"""

from __future__ import annotations

import numpy as np

from edgeprune.export.passes.affine import affine
from edgeprune.export.passes.layer_checks import is_a
from edgeprune.export.passes.layer_graph import Call, LayerGraph
from edgeprune.export.passes.report import PassReport, Refusal

NAME = "prelu_by_relu"
EXACTNESS = "exact up to float32 rounding"


def refusal(call: Call) -> str | None:
    """Why a PReLU on maps stays."""
    alpha = call.operation.get_weights()[0]
    if alpha.size != call.output.shape[-1]:
        return f"its {alpha.size} slopes differ from position to position; sparse kernels need shared_axes=[1, 2]"
    return None


def run(graph: LayerGraph) -> PassReport:
    """Rewrite every PReLU whose slopes are one per channel."""
    import keras

    changed, refusals = [], []
    for call in list(graph.calls):
        if not is_a(call, "PReLU") or len(call.output.shape) != 4 or tuple(call.output.shape[1:3]) == (1, 1):
            continue
        reason = refusal(call)
        if reason is not None:
            refusals.append(Refusal(call.name, reason))
            continue
        alpha = np.ravel(call.operation.get_weights()[0])
        source = call.tensors[0]
        # first, so that the source has two readers and its convolution is not made twice
        positive = graph.insert(call, keras.ops.relu, source)
        parts = [affine(graph, call, positive, 1 - alpha, None), affine(graph, call, source, alpha, None)]
        graph.replace(call, graph.insert(call, keras.layers.Add(name=f"{call.name}_sum"), parts))
        changed.append(call.name)
    return PassReport(NAME, EXACTNESS, tuple(changed), tuple(refusals))
