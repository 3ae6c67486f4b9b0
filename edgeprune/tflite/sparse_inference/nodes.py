"""XNNPACK's nodes of one partition: what the runtime builds from the file before it looks for sparse clusters.

Source: the Visit...Node functions of tensorflow/lite/delegates/xnnpack/xnnpack_delegate.cc, the definitions in
XNNPACK's src/subgraph/ and the fusions of its src/subgraph.c. Fusing an activation into its producer is left out: it
takes a node away that is compatible wherever its producer is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgeprune.tflite.model import TfliteModel, dtype_name
from edgeprune.tflite.sparse_inference.partition import UNARY_OPS, Partition, unpacks_constant
from edgeprune.tflite.sparse_inference.rules import RuntimeRules

Shape = tuple[int, ...]
Pads = tuple[int, int, int, int]

# The options that belong to a convolution; a damaged file may carry others.
_OPTIONS = {"CONV_2D": schema.Conv2DOptionsT, "DEPTHWISE_CONV_2D": schema.DepthwiseConv2DOptionsT}


@dataclass
class Node:
    """One node. kind: "convolution", "depthwise", "dense" (where Dense layers join), "binary", "unary", "reduce",
    "depth_to_space", "resize", "pad", "other", or "fused" for a padding that its reader has taken over.

    op: position in the main graph. inputs, outputs: tensors. padding: top, right, bottom, left, beside TensorFlow's
    own `same`. weight: the tensor of a convolution's or dense layer's weight.
    """

    op: int
    name: str
    kind: str
    inputs: list[int]
    outputs: list[int]
    kernel: tuple[int, int] = (0, 0)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: Pads = (0, 0, 0, 0)
    same: bool = False
    groups: int = 1
    multiplier: int = 1
    axes: frozenset[int] = frozenset()
    keeps_axes: bool = False
    weight: int = -1

    @property
    def is_1x1(self) -> bool:
        """A convolution that sparse kernels can run."""
        return self.kind == "convolution" and self.kernel == (1, 1)

    @property
    def is_counted(self) -> bool:
        """Whether the 2/3 rule counts its weights."""
        return self.is_1x1 or self.kind == "dense"


@dataclass
class Graph:
    """The nodes of one partition and what they need to know of tensors.

    static: tensors whose values are known when the model loads. outside: tensors that enter or leave the partition.
    producers: tensor -> node that writes it. readers: tensor -> nodes that read it. read_count: tensor -> number of
    readers as XNNPACK counts them, with one more for an output of the partition.
    """

    model: TfliteModel
    nodes: list[Node]
    static: frozenset[int]
    outside: frozenset[int]
    producers: dict[int, int] = field(default_factory=dict)
    readers: dict[int, list[int]] = field(default_factory=dict)
    read_count: dict[int, int] = field(default_factory=dict)

    def shape(self, tensor: int) -> Shape:
        """The shape of a tensor; unknown sizes are 1, as when the runtime allocates them."""
        sizes = self.model.main.tensors[tensor].shape
        return () if sizes is None else tuple(abs(int(size)) for size in sizes)

    def is_float(self, tensor: int) -> bool:
        """Whether a tensor holds float32 or float16."""
        return dtype_name(self.model.main.tensors[tensor]) in ("float32", "float16")

    def runtime_inputs(self, node: Node) -> list[int]:
        """The inputs of a node that are not static, each as often as it is read."""
        return [tensor for tensor in node.inputs if tensor not in self.static]


def build_graph(model: TfliteModel, partition: Partition, rules: RuntimeRules) -> Graph:
    """The nodes of a partition after fusion."""
    inside = set(partition.ops)
    nodes = [_node(model, op, rules) for op in partition.ops]
    if rules.drops_unread:
        nodes = _without_unread(model, nodes)
    written = {tensor for node in nodes for tensor in node.outputs}
    static = {tensor for tensor in _read(nodes) if model.stored_weight(tensor) is not None}
    results = set(map(int, model.main.outputs))
    leaving = {
        tensor
        for tensor in written
        if tensor in results
        or any(op not in inside and not unpacks_constant(model, op) for op in model.consumers.get(tensor, ()))
    }
    graph = Graph(model, nodes, frozenset(static), frozenset(leaving | (_read(nodes) - written - static)))
    for position, node in enumerate(nodes):
        for tensor in set(node.inputs):
            graph.readers.setdefault(tensor, []).append(position)
            times = 1 if rules.repeated_input_counts_once else node.inputs.count(tensor)
            graph.read_count[tensor] = graph.read_count.get(tensor, 0) + times
        for tensor in node.outputs:
            graph.producers[tensor] = position
    for tensor in leaving:
        graph.read_count[tensor] = graph.read_count.get(tensor, 0) + 1
    _fuse_pads(graph)
    return graph


def _read(nodes: list[Node]) -> set[int]:
    return {tensor for node in nodes for tensor in node.inputs}


def _without_unread(model: TfliteModel, nodes: list[Node]) -> list[Node]:
    """The nodes without those whose outputs nobody reads."""
    own = {node.op for node in nodes}
    wanted = set(map(int, model.main.outputs))
    wanted |= {tensor for tensor, readers in model.consumers.items() if any(reader not in own for reader in readers)}
    kept = []
    for node in reversed(nodes):
        if wanted.intersection(node.outputs):
            kept.append(node)
            wanted.update(node.inputs)
    return kept[::-1]


def _fuse_pads(graph: Graph) -> None:
    """Let a convolution take over the zero padding that it alone reads."""
    for number, node in enumerate(graph.nodes):
        if node.kind not in ("convolution", "depthwise") or node.same:
            continue
        source = graph.producers.get(node.inputs[0])
        if source is None or graph.read_count[node.inputs[0]] != 1:
            continue
        pad = graph.nodes[source]
        amounts = _pad_amounts(graph.model, pad)
        if pad.kind == "pad" and amounts is not None:
            node.padding = tuple(own + more for own, more in zip(node.padding, amounts, strict=True))  # type: ignore[assignment]
            node.inputs[0] = pad.inputs[0]
            graph.readers[pad.inputs[0]] = [number if at == source else at for at in graph.readers[pad.inputs[0]]]
            pad.kind, pad.inputs, pad.outputs = "fused", [], []


def _pad_amounts(model: TfliteModel, pad: Node) -> Pads | None:
    """Top, right, bottom and left of a padding of height and width alone; None for any other."""
    if pad.kind != "pad":
        return None
    amounts = _integers(model, int(model.main.operators[pad.op].inputs[1]))
    if len(amounts) != 8 or any(amounts[:2]) or any(amounts[6:]) or min(amounts) < 0:
        return None
    return amounts[2], amounts[5], amounts[3], amounts[4]


def _node(model: TfliteModel, op: int, rules: RuntimeRules) -> Node:
    operator, name = model.main.operators[op], model.op_names[op]
    inputs = [int(tensor) for tensor in operator.inputs if tensor >= 0]
    node = Node(op, name, "other", inputs, [int(tensor) for tensor in operator.outputs if tensor >= 0])
    if name in ("CONV_2D", "DEPTHWISE_CONV_2D"):
        _describe_convolution(model, node, operator.builtinOptions)
    elif name in ("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN"):
        rank = len(_sizes(model, inputs[0]))
        node.kind = "reduce" if name in ("MEAN", "SUM") else "other"
        node.axes = frozenset(axis % rank for axis in _integers(model, inputs[1])) if rank else frozenset()
        node.keeps_axes = bool(getattr(operator.builtinOptions, "keepDims", False))
        node.inputs = inputs[:1]
    elif name in ("PAD", "RESIZE_BILINEAR", "RESHAPE", "SLICE", "STRIDED_SLICE", "TRANSPOSE"):
        node.kind = {"PAD": "pad", "RESIZE_BILINEAR": "resize"}.get(name, "other")
        node.inputs = inputs[:1]
    elif name == "FULLY_CONNECTED":
        _describe_dense(model, node, operator, rules)
    elif name == "DEPTH_TO_SPACE":
        node.kind = "depth_to_space"
    elif name in UNARY_OPS or _is_pooling_of_one(name, operator.builtinOptions):
        node.kind = "unary"
    elif name in ("ADD", "MUL") and len(inputs) == 2:
        node.kind = "binary"
        if name == "MUL" and inputs[0] == inputs[1] and rules.square_of_product:
            node.kind, node.inputs = "unary", inputs[:1]
    elif name in ("MAXIMUM", "MINIMUM") and len(inputs) == 2 and rules.clamp_of_scalar:
        numbers = [tensor for tensor in inputs if _is_number(model, tensor)]
        if len(numbers) == 1:
            node.kind = "unary"
            node.inputs = [tensor for tensor in inputs if tensor not in numbers]
    return node


def _describe_dense(model: TfliteModel, node: Node, operator: Any, rules: RuntimeRules) -> None:
    """Fill in a dense layer that can join a cluster; any other stays "other"."""
    if len(operator.inputs) < 2 or operator.inputs[1] < 0 or model.stored_weight(node.inputs[1]) is None:
        return
    keeps = bool(getattr(operator.builtinOptions, "keepNumDims", False))
    if rules.dense_layers_join:
        node.kind, node.weight = "dense", node.inputs[1]
    elif keeps and len(_sizes(model, node.inputs[0])) == 4:
        # On four dimensions that it keeps it is a 1x1 convolution in all but name.
        node.kind, node.weight, node.kernel = "convolution", node.inputs[1], (1, 1)


def _is_pooling_of_one(name: str, options: Any) -> bool:
    """Pooling over single pixels, which the delegate writes as a clamp."""
    return (
        name in ("AVERAGE_POOL_2D", "MAX_POOL_2D")
        and getattr(options, "filterHeight", 0) == getattr(options, "filterWidth", 0) == 1
    )


def _is_number(model: TfliteModel, tensor: int) -> bool:
    return model.stored_weight(tensor) is not None and prod(_sizes(model, tensor)) == 1


def _describe_convolution(model: TfliteModel, node: Node, options: Any) -> None:
    """Fill in what XNNPACK knows of a convolution; one that the file describes wrongly stays "other"."""
    weight, data = _sizes(model, node.inputs[1]), _sizes(model, node.inputs[0])
    if len(weight) != 4 or len(data) != 4:
        return
    if not isinstance(options, _OPTIONS.get(node.name, ())):
        return
    node.kind = "convolution" if node.name == "CONV_2D" else "depthwise"
    node.weight = node.inputs[1]
    node.kernel, node.stride = (weight[1], weight[2]), (int(options.strideH), int(options.strideW))
    node.dilation = (int(options.dilationHFactor), int(options.dilationWFactor))
    node.same = options.padding == schema.Padding.SAME
    if node.kind == "convolution":
        node.groups = data[3] // weight[3] if weight[3] else 0
    else:
        node.multiplier = int(options.depthMultiplier)
    if node.same and node.stride == (1, 1):
        # With stride 1 the amounts don't depend on the input's size, so XNNPACK writes them out.
        rows, columns = ((size - 1) * step for size, step in zip(node.kernel, node.dilation, strict=True))
        node.padding = (rows // 2, columns - columns // 2, rows - rows // 2, columns // 2)
        node.same = False


def _sizes(model: TfliteModel, tensor: int) -> Shape:
    sizes = model.main.tensors[tensor].shape
    return () if sizes is None else tuple(abs(int(size)) for size in sizes)


def _integers(model: TfliteModel, tensor: int) -> list[int]:
    """The values of an int32 constant; empty when it is something else."""
    stored = model.main.tensors[tensor]
    data = model.constant(stored)
    if data is None or dtype_name(stored) != "int32" or len(data) % 4:
        return []
    return [int(value) for value in np.frombuffer(data.tobytes(), "<i4")]
