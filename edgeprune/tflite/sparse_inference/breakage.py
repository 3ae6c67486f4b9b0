"""Where a half-changed graph computes wrong numbers, or does not load.

XNNPACK lets a cluster end at any node, but only a global mean and depth-to-space write NHWC there. Any other node reads
NCHW and is then built as if it read NHWC. Nothing is reported; x86 CPUs never show it. Found on an emulated Raspberry
Pi 4 with every runtime of `rules.RULES` that runs sparse kernels; the shape of a reduction comes from XNNPACK's
src/subgraph/static-reduce.c.
"""

from __future__ import annotations

from edgeprune.tflite.sparse_inference.clusters import Rewrite, Stop
from edgeprune.tflite.sparse_inference.compatibility import Layout, Refusal
from edgeprune.tflite.sparse_inference.nodes import Graph, Node


def breakages(state: Rewrite) -> list[Stop]:
    """The nodes of running clusters that go wrong."""
    found = []
    for number in sorted(state.engaged):
        node = state.graph.nodes[number]
        refusal = _reduction(state, number, node) if node.kind == "reduce" else _leak(state, number, node)
        if refusal is not None:
            found.append(Stop(number, number, refusal))
    return found


def _leak(state: Rewrite, number: int, node: Node) -> Refusal | None:
    """A node that reads NCHW and writes NHWC, but is no end."""
    graph, output = state.graph, node.outputs[0]
    if output in state.nchw or state.layouts[number] & Layout.ENDS:
        return None
    shape = graph.shape(node.inputs[0] if node.kind == "dense" else output)
    if shape[1:3] == (1, 1) or len(shape) != 4:
        producer = graph.producers.get(node.inputs[0])
        if node.is_counted and producer is not None and _keeps_wrong_shape(graph.nodes[producer]):
            return Refusal("pooled-convolution", "it reads a pooled map and its output leaves the cluster")
        return None
    # With one channel or one pixel both layouts are the same bytes.
    if shape[3:] == (1,) and node.kind in ("unary", "binary", "depthwise", "resize"):
        return None
    return Refusal("leak", "sparse kernels run before it and stop behind it, and it mixes up the layouts")


def _reduction(state: Rewrite, number: int, node: Node) -> Refusal | None:
    """A mean or sum over an NCHW tensor."""
    if not node.keeps_axes:
        if 3 not in node.axes and not node.axes >= {1, 2}:
            return Refusal(
                "pooled-axis", f"it reduces the axes {sorted(node.axes)} and writes what is left in the wrong order"
            )
        return None
    if not _keeps_wrong_shape(node):
        return None
    graph, output = state.graph, node.outputs[0]
    readers = [graph.nodes[reader] for reader in graph.readers.get(output, ())]
    outside = output in graph.outside
    if outside or not readers or not all(_takes_wrong_shape(graph, reader) for reader in readers):
        return Refusal("pooled-shape", "it keeps the reduced axes, and the runtime gives its output a wrong shape")
    return None


def _keeps_wrong_shape(node: Node) -> bool:
    """The runtime mixes up which of the kept axes have size 1, unless all have."""
    return node.kind == "reduce" and node.keeps_axes and not node.axes >= {1, 2, 3}


def _takes_wrong_shape(graph: Graph, reader: Node) -> bool:
    """Readers that go by their own weight or options instead of the shape they are given."""
    return reader.is_counted or reader.name in ("FULLY_CONNECTED", "RESHAPE")
