"""Which nodes change to NCHW together: xnn_subgraph_rewrite_for_nchw of XNNPACK's src/subgraph.c, step by step.

The order of the steps and of the nodes within them decides what happens to a graph that is only partly compatible, so
it is kept as it is. What is added is a note at every place where the runtime gives up.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from edgeprune.tflite.model import elements
from edgeprune.tflite.sparse_inference.compatibility import Layout, Refusal, compatibility
from edgeprune.tflite.sparse_inference.nodes import Graph, Node
from edgeprune.tflite.weights import zeros_in

# Only a damaged file, with operations out of order, needs more than two.
_MAX_ROUNDS = 100


@dataclass(frozen=True)
class Stop:
    """Where the runtime gave up a cluster. node: the node at fault; None for the model's own inputs and outputs.

    seen_from: the node of the cluster that met it.
    """

    node: int | None
    seen_from: int
    refusal: Refusal


@dataclass
class Rewrite:
    """The outcome for one partition.

    layouts: what each node ended as. leaders: the cluster of each node, by its leader. engaged: nodes whose inputs are
    in NCHW. nchw: the tensors in NCHW. refusals: why a node has no place, by node. weights, zeros: of the 1x1
    convolutions, by leader.
    """

    graph: Graph
    layouts: list[Layout]
    leaders: list[int]
    refusals: dict[int, Refusal]
    stops: list[Stop] = field(default_factory=list)
    spoiled: set[int] = field(default_factory=set)
    engaged: set[int] = field(default_factory=set)
    nchw: set[int] = field(default_factory=set)
    weights: dict[int, int] = field(default_factory=dict)
    zeros: dict[int, int] = field(default_factory=dict)

    def joins(self, number: int) -> bool:
        """Whether a node reads NCHW if its cluster does."""
        return bool(self.layouts[number] & (Layout.NCHW | Layout.ENDS))


def rewrite(graph: Graph) -> Rewrite:
    """Follow the runtime on one partition whose weights are (or count as) sparse."""
    state = Rewrite(graph, [], list(range(len(graph.nodes))), {})
    for number, node in enumerate(graph.nodes):
        allowed = Layout.NONE if node.kind == "fused" else compatibility(graph, node)
        if isinstance(allowed, Refusal):
            state.refusals[number] = allowed
        state.layouts.append(allowed if isinstance(allowed, Layout) else Layout.NONE)
    ends = [number for number, layout in enumerate(state.layouts) if layout & Layout.ENDS]
    moved = False
    # An end may lose its part as one while earlier ends are looked at.
    for number in ends:
        if state.layouts[number] & Layout.ENDS:
            moved |= _join_producers(state, number)
    if not moved:
        _note_missing_end(state)
        return state
    known = -1
    # In a file whose operations stand in order, the first round settles who is spoiled.
    for _ in range(_MAX_ROUNDS):
        if len(state.spoiled) == known:
            break
        known = len(state.spoiled)
        for number in range(len(graph.nodes)):
            if number not in state.spoiled and state.joins(number):
                _join_producers(state, number)
    _spread_leaders(state)
    spoiled_leaders = {state.leaders[number] for number in state.spoiled}
    spoiled_leaders |= _read_outside(state, spoiled_leaders)
    state.spoiled |= spoiled_leaders
    _weigh(state)
    return state


def _join_producers(state: Rewrite, number: int) -> bool:
    """Give a node and the producers of its inputs one leader; True when a leader changed."""
    graph, moved = state.graph, False
    for tensor in graph.runtime_inputs(graph.nodes[number]):
        producer = graph.producers.get(tensor)
        if producer is None or tensor in graph.outside:
            _spoil_at_border(state, number, tensor, producer)
            continue
        if not state.layouts[producer] & (Layout.STARTS | Layout.NCHW) or producer in state.spoiled:
            if producer in state.refusals:
                state.stops.append(Stop(producer, number, state.refusals[producer]))
            state.spoiled.add(number)
            continue
        state.layouts[producer] &= ~Layout.ENDS
        if state.leaders[producer] != state.leaders[number]:
            state.leaders[producer] = state.leaders[number] = max(state.leaders[producer], state.leaders[number])
            moved = True
    return moved


def _spread_leaders(state: Rewrite) -> None:
    """Give all nodes that share a cluster its highest leader. The runtime repeats its rounds until that is so."""
    graph = state.graph
    parents = list(range(len(graph.nodes)))

    def root(number: int) -> int:
        while parents[number] != number:
            parents[number] = parents[parents[number]]
            number = parents[number]
        return number

    for number, node in enumerate(graph.nodes):
        if number in state.spoiled or not state.joins(number):
            continue
        for tensor in graph.runtime_inputs(node):
            parents[root(graph.producers[tensor])] = root(number)
    highest: dict[int, int] = {}
    for number in range(len(graph.nodes)):
        highest[root(number)] = max(highest.get(root(number), 0), state.leaders[number])
    state.leaders = [highest[root(number)] for number in range(len(graph.nodes))]


def _spoil_at_border(state: Rewrite, number: int, tensor: int, producer: int | None) -> None:
    if producer is None:
        refusal = Refusal("outside-input", "it reads a tensor from outside: the cluster does not begin with a stem")
        state.stops.append(Stop(number, number, refusal))
    else:
        state.stops.append(_outside_reader(state, number, tensor))
    state.spoiled.add(number)


def _outside_reader(state: Rewrite, number: int, tensor: int) -> Stop:
    """What, beside the cluster, reads a tensor: the model's outputs, or an operation that can't join."""
    for reader in state.graph.readers.get(tensor, ()):
        if reader in state.refusals:
            return Stop(reader, number, state.refusals[reader])
    where = (
        "an output of the model" if tensor in map(int, state.graph.model.main.outputs) else "read outside the cluster"
    )
    return Stop(None, number, Refusal("outside-reader", f"a tensor that it reads is also {where}"))


def _note_missing_end(state: Rewrite) -> None:
    for number in range(len(state.graph.nodes)):
        if state.layouts[number] & Layout.NCHW:
            state.stops.append(Stop(None, number, Refusal("no-end", "there is no global mean that it could end with")))
            return


def _read_outside(state: Rewrite, spoiled_leaders: set[int]) -> set[int]:
    """Leaders of clusters one of whose tensors has a reader that does not join a cluster."""
    graph = state.graph
    members = [
        number
        for number in range(len(graph.nodes))
        if state.leaders[number] not in spoiled_leaders and state.joins(number)
    ]
    inside: dict[int, int] = {}
    for number in members:
        for tensor in graph.runtime_inputs(graph.nodes[number]):
            inside[tensor] = inside.get(tensor, 0) + 1
    found = set()
    for number in members:
        for tensor in graph.runtime_inputs(graph.nodes[number]):
            if inside[tensor] != graph.read_count[tensor]:
                found.add(state.leaders[number])
                state.stops.append(
                    Stop(number, number, Refusal("repeated-operand", "it reads one tensor twice"))
                    if inside[tensor] > graph.read_count[tensor]
                    else _outside_reader(state, number, tensor)
                )
    return found


def _weigh(state: Rewrite) -> None:
    """Count zeros by cluster and engage those above 2/3."""
    graph = state.graph
    for number, node in enumerate(graph.nodes):
        leader = state.leaders[number]
        if leader in state.spoiled or not node.is_counted:
            continue
        zeros, weights = weight_zeros(graph, node)
        state.weights[leader] = state.weights.get(leader, 0) + weights
        state.zeros[leader] = state.zeros.get(leader, 0) + zeros
    for number in range(len(graph.nodes)):
        leader = state.leaders[number]
        if leader in state.spoiled or not state.joins(number):
            continue
        if state.zeros.get(leader, 0) * 3 > state.weights.get(leader, 0) * 2:
            state.engaged.add(number)
            state.nchw.update(graph.runtime_inputs(graph.nodes[number]))


def weight_zeros(graph: Graph, node: Node) -> tuple[int, int]:
    """(zeros, elements) of a convolution's weight."""
    tensor = graph.model.stored_weight(node.weight)
    data = None if tensor is None else graph.model.constant(tensor)
    if tensor is None or data is None:
        return 0, int(np.prod(graph.shape(node.weight)))
    return zeros_in(tensor, data), elements(tensor)
