"""Activation memory of a network: a lower bound of its peak, and the peak as the runtime places tensors."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix

from edgeprune.cost.change import Changes, Touched
from edgeprune.cost.counts import ExtentTable
from edgeprune.records.network import Network
from edgeprune.tflite.arena import plan_arena


class Activations:
    """Sizes and lifetimes of a network's activations, at `element_bytes` per element."""

    def __init__(self, network: Network, element_bytes: int) -> None:
        self.network = network
        self.element_bytes = element_bytes
        self._table = ExtentTable([tensor.extent for tensor in network.tensors])
        self._touched = Touched(network, self._table.axes)
        self._first = np.array([tensor.first_use for tensor in network.tensors], dtype=np.int64)
        self._last = np.array([tensor.last_use for tensor in network.tensors], dtype=np.int64)
        self._alive = _alive(self._first, self._last, len(network.ops))

    def peak_bytes(self, kept: np.ndarray) -> np.ndarray:
        """The most bytes alive during one operation. kept: (groups,) or (groups, plans) -> () or (plans,)."""
        sizes = self._table.values(self.network.widths(kept))
        return np.asarray((self._alive @ sizes).max(axis=0, initial=0) * self.element_bytes)

    def changed_peak_bytes(self, changes: Changes) -> np.ndarray:
        """(changes,) int64: the most bytes alive during one operation, for every changed plan."""
        widths = self.network.widths(changes.kept)
        sizes = self._table.values(widths)
        change, tensor, growth = self._touched.pairs(changes)
        lengths = widths[self._table.axes[tensor]] + growth
        difference = self._table.factors[tensor] * lengths.prod(axis=1) - sizes[tensor]
        shape = (len(sizes), len(changes.groups))
        differences = csr_matrix((difference, (tensor, change)), shape=shape)
        alive = (self._alive @ sizes)[:, None] + (self._alive @ differences).toarray()
        return np.asarray(alive.max(axis=0, initial=0) * self.element_bytes)

    def arena_bytes(self, kept: np.ndarray) -> int:
        """The size of the arena with tensors placed as the runtime places them. kept: (groups,)."""
        used = self._last >= 0
        sizes = self._table.values(self.network.widths(kept))[used] * self.element_bytes
        return plan_arena(sizes, self._first[used], self._last[used])[1]


def _alive(first: np.ndarray, last: np.ndarray, ops: int) -> csr_matrix:
    """(ops, tensors) int64: 1 where the tensor is alive while the operation runs."""
    lengths = np.maximum(np.minimum(last, ops - 1) - first + 1, 0)
    tensor = np.repeat(np.arange(len(first)), lengths)
    op = np.arange(len(tensor)) - np.repeat(np.cumsum(lengths) - lengths, lengths) + first[tensor]
    return csr_matrix((np.ones(len(tensor), dtype=np.int64), (op, tensor)), shape=(ops, len(first)))
