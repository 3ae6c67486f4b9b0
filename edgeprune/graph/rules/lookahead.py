"""Which of several axes should carry the channels, decided by what comes after.

When a reshape spreads channels over axes, as (heads, dim), only one of them can be pruned: what is kept must be a
rectangle. Each candidate axis is given ids of its own and followed through the rules of the calls behind it; the axis
that fewest of them reject wins.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from typing import Any

import numpy as np

from edgeprune.graph.context import Call, Context, NoRuleError, on_axis
from edgeprune.graph.rules.layout import slow_first

# Calls followed per candidate. Attention, channel and pixel shuffles are decided in about ten.
HORIZON = 64


def preferred_axis(call: Call, lengths: Mapping[int, int]) -> int:
    """The axis of the call's first output that should carry the channels.

    Candidates are compared by: rejections behind them; whether, merged back into one axis, the channels of a
    unit stand apart (the faster axis of a head split, the groups of a channel shuffle); order of the axes,
    so that whole rows (heads) go where nothing speaks against it.

    Args:
        lengths: candidate axis -> its length.
    """
    if len(lengths) == 1 or not call.outputs:
        return min(lengths)
    rank = len(call.output_shapes[0])
    scores = {axis: _score(call, axis, length, rank) for axis, length in lengths.items()}
    return min(lengths, key=lambda axis: (*scores[axis], axis))


def _score(call: Call, axis: int, length: int, rank: int) -> tuple[int, bool]:
    probe = _Probe(length)
    return probe.follow(call, on_axis(probe.tags, rank, axis))


class _Probe:
    """Follows tagged channels through the calls behind a tensor, in a context of its own."""

    def __init__(self, length: int) -> None:
        self.context = Context()
        self.tags = self.context.fresh(length)

    def tagged(self, ids: np.ndarray) -> np.ndarray:
        return (ids >= self.tags[0]) & (ids <= self.tags[-1])

    def follow(self, call: Call, ids: np.ndarray) -> tuple[int, bool]:
        """(calls that reject the channels, whether a merged axis holds a unit's channels apart)."""
        known = {id(call.outputs[0]): ids}
        queue = [(position, id(node), node) for position, node in call.readers.get(id(call.outputs[0]), ())]
        heapq.heapify(queue)
        visited: set[int] = set()
        rejections, apart = 0, False
        while queue and len(visited) < HORIZON:
            _, key, node = heapq.heappop(queue)
            if key in visited:
                continue
            visited.add(key)
            outgoing = self.passed(node, known)
            if outgoing is None:
                rejections += 1
                continue
            rejections += self.bypasses(node, outgoing)
            for tensor, found in zip(node.outputs, outgoing, strict=True):
                if self.tagged(found).any():
                    apart |= not slow_first(found.reshape(-1))
                    known[id(tensor)] = found
                    for position, reader in call.readers.get(id(tensor), ()):
                        heapq.heappush(queue, (position, id(reader), reader))
        return rejections, apart

    def bypasses(self, node: Any, outgoing: tuple[np.ndarray, ...]) -> bool:
        """Whether the channels pass a layer's kernel by: it can then make no prunable channels of its own."""
        kernels = [
            weight
            for variable in getattr(node.operation, "weights", ())
            if (weight := self.context.weights.get(id(variable))) is not None and weight.role == "kernel"
        ]
        touched = any(self.tagged(ids).any() for kernel in kernels for ids in kernel.axes.values())
        return bool(kernels) and not touched and any(self.tagged(ids).any() for ids in outgoing)

    def passed(self, node: Any, known: dict[int, np.ndarray]) -> tuple[np.ndarray, ...] | None:
        """The ids behind a call; None when it freezes or unites tagged channels or has no rule."""
        from edgeprune.graph.rules.table import rule_for

        rule = rule_for(node.operation)
        if rule is None:
            return None
        tensors = node.arguments.keras_tensors
        inputs = [known.get(id(tensor)) for tensor in tensors]
        call = Call(
            operation=node.operation,
            path=node.operation.name,
            inputs=tuple(
                self.context.fresh(1).reshape((1,) * len(tensor.shape)) if ids is None else ids
                for ids, tensor in zip(inputs, tensors, strict=True)
            ),
            shapes=tuple(tuple(tensor.shape) for tensor in tensors),
            output_shapes=tuple(tuple(tensor.shape) for tensor in node.outputs),
            args=node.arguments.args,
            kwargs=node.arguments.kwargs,
        )
        freezes, edges = len(self.context.freezes), len(self.context.edges)
        try:
            outputs = rule.trace(call, self.context).outputs
        except NoRuleError:
            return None
        frozen = list(self.context.freezes.values())[freezes:]
        if any(self.tagged(ids).any() for parts in frozen for ids in parts):
            return None
        for left, right in self.context.edges[edges:]:
            if (self.tagged(left) & self.tagged(right) & (left != right)).any():
                return None
        return outputs
