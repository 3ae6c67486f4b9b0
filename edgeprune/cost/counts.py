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
        self.factors = np.array([extent.factor for extent in extents], dtype=np.int64)
        self.axes = padded_axes([extent.axes for extent in extents])

    def values(self, widths: np.ndarray) -> np.ndarray:
        """widths: (axes,) or (axes, plans) -> (extents,) or (extents, plans), int64 or float64 as widths."""
        factors = self.factors if widths.ndim == 1 else self.factors[:, None]
        result = np.broadcast_to(factors, (len(self.factors), *widths.shape[1:])).astype(widths.dtype)
        for column in self.axes.T:
            result *= widths[column]
        return result


def padded_axes(rows: Sequence[tuple[int, ...]]) -> np.ndarray:
    """(rows, depth) int64: axis numbers, shorter rows filled up with axis 0."""
    depth = max((len(axes) for axes in rows), default=0)
    filled = [axes + (0,) * (depth - len(axes)) for axes in rows]
    return np.array(filled, dtype=np.int64).reshape(len(rows), depth)


def total_macs(network: Network, kept: np.ndarray) -> int:
    """Multiply-accumulates of one inference. kept: (groups,)."""
    return int(ExtentTable([op.macs for op in network.ops]).values(network.widths(kept)).sum())


def total_params(network: Network, kept: np.ndarray) -> int:
    """Weights as Keras counts them, BatchNorm statistics included. kept: (groups,)."""
    return int(ExtentTable([weight.extent for weight in network.weights]).values(network.widths(kept)).sum())
