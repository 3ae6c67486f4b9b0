"""Evaluating many extents at once, for one plan or for many side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeprune.records.network import Extent, Network


class ExtentTable:
    """A list of extents as arrays: value = factor x width[axis 1] x width[axis 2] x ...

    Missing axes point at axis 0, the constant 1, so that one multiplication serves all.
    """

    def __init__(self, extents: Sequence[Extent]) -> None:
        depth = max((len(extent.axes) for extent in extents), default=0)
        self.factors = np.array([extent.factor for extent in extents], dtype=np.int64)
        padded = [extent.axes + (0,) * (depth - len(extent.axes)) for extent in extents]
        self.axes = np.array(padded, dtype=np.int64).reshape(len(extents), depth)

    def values(self, widths: np.ndarray) -> np.ndarray:
        """widths: (axes,) or (axes, plans) -> (extents,) or (extents, plans), int64 or float64 as widths."""
        factors = self.factors if widths.ndim == 1 else self.factors[:, None]
        result = np.broadcast_to(factors, (len(self.factors), *widths.shape[1:])).astype(widths.dtype)
        for column in self.axes.T:
            result *= widths[column]
        return result


def total_macs(network: Network, kept: np.ndarray) -> int:
    """Multiply-accumulates of one inference. kept: (groups,)."""
    return int(ExtentTable([op.macs for op in network.ops]).values(network.widths(kept)).sum())


def total_params(network: Network, kept: np.ndarray) -> int:
    """Weights as Keras counts them, BatchNorm statistics included. kept: (groups,)."""
    return int(ExtentTable([weight.extent for weight in network.weights]).values(network.widths(kept)).sum())


def peak_activation_elements(network: Network, kept: np.ndarray) -> int:
    """The most activation elements alive during one operation, for batch 1. kept: (groups,)."""
    sizes = ExtentTable([tensor.extent for tensor in network.tensors]).values(network.widths(kept))
    return int((alive_matrix(network) @ sizes).max(initial=0))


def alive_matrix(network: Network) -> np.ndarray:
    """(ops, tensors) int64: 1 where the tensor is alive while the operation runs."""
    steps = np.arange(len(network.ops))[:, None]
    first = np.array([tensor.first_use for tensor in network.tensors])
    last = np.array([tensor.last_use for tensor in network.tensors])
    return ((first <= steps) & (steps <= last)).astype(np.int64)
