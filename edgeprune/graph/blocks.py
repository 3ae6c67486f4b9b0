"""Residual blocks that can be dropped whole (depth pruning).

A block is y = x + f(x): an addition of a tensor and of a branch that starts at that tensor and nowhere else, and that
nothing else reads. The tensor and the sum have the same shape and, being added, the same channel ids, so y = x is a
valid network with fewer layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeprune.graph.surgery import copy_compiled_state, rebuild
from edgeprune.graph.trace import Trace
from edgeprune.keras_graph import functional_graph, nodes_in_order


@dataclass(frozen=True, eq=False)
class Block:
    """One residual block. `name` is the path of its addition, `layers` the paths of what goes with it.

    branch: ids of the branch's Keras nodes. total, shortcut: ids of the Keras tensors y and x.
    """

    name: str
    layers: tuple[str, ...]
    branch: frozenset[int]
    total: int
    shortcut: int


def find_blocks(model: Any) -> tuple[Block, ...]:
    """All residual blocks of a functional or Sequential model, nested models included, in execution order."""
    return tuple(_blocks_of(functional_graph(model), ""))


def drop_blocks(model: Any, trace: Trace, blocks: Sequence[Block]) -> Any:
    """A new model in which each of the given blocks returns its input; weights and compiled state carried over."""
    skipped = frozenset[int]().union(*(block.branch for block in blocks))
    aliases = {block.total: block.shortcut for block in blocks}
    smaller = rebuild(model, trace, np.ones(trace.context.next_id, dtype=bool), skipped, aliases)
    copy_compiled_state(model, smaller)
    return smaller


def _blocks_of(graph: Any, prefix: str) -> list[Block]:
    nodes = nodes_in_order(graph)
    maker = {id(tensor): node for node in nodes for tensor in node.outputs}
    readers: dict[int, list[Any]] = {}
    for node in nodes:
        for tensor in node.arguments.keras_tensors:
            readers.setdefault(id(tensor), []).append(node)
    outputs = {id(tensor) for tensor in graph.outputs}
    found = []
    for node in nodes:
        nested = functional_graph(node.operation)
        if nested is not None:
            found += _blocks_of(nested, f"{prefix}{node.operation.name}/")
        elif type(node.operation).__name__ == "Add" and len(node.arguments.keras_tensors) == 2:
            left, right = node.arguments.keras_tensors
            for shortcut, end in ((left, right), (right, left)):
                branch = _branch(shortcut, end, node, maker, readers, outputs)
                if branch and shortcut.shape == node.outputs[0].shape:
                    names = tuple(prefix + part.operation.name for part in nodes if id(part) in branch)
                    total = node.outputs[0]
                    found.append(
                        Block(
                            name=prefix + node.operation.name,
                            layers=names,
                            branch=branch | {id(node)},
                            total=id(total),
                            shortcut=id(shortcut),
                        )
                    )
                    break
    return found


def _branch(
    shortcut: Any, end: Any, addition: Any, maker: dict[int, Any], readers: dict[int, list[Any]], outputs: set[int]
) -> frozenset[int]:
    """The ids of the nodes between `shortcut` and `end`; empty when they are not a branch of their own."""
    inside: dict[int, Any] = {}
    open_tensors = [end]
    while open_tensors:
        tensor = open_tensors.pop()
        if tensor is shortcut:
            continue
        node = maker.get(id(tensor))
        if node is None or id(tensor) in outputs:
            return frozenset()
        if id(node) not in inside:
            inside[id(node)] = node
            open_tensors += node.arguments.keras_tensors
    allowed = {*inside, id(addition)}
    for node in inside.values():
        for tensor in node.outputs:
            if id(tensor) in outputs or any(id(reader) not in allowed for reader in readers.get(id(tensor), ())):
                return frozenset()
    return frozenset(inside)
