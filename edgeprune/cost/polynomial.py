"""A cost that is a sum of products of widths, evaluated for whole plans or for one changed group at a time."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from edgeprune.cost.change import Changes, Touched
from edgeprune.cost.counts import padded_axes
from edgeprune.records.network import Extent, Network


class Polynomial:
    """constant + sum of coefficient x extent, where an extent's `rounded` axis counts in whole kernel tiles.

    Terms over the same axes are added up once, which leaves few of them.

    Args:
        terms: (coefficient, extent, rounded axis); the axis is one of the extent's, or 0 for none.
        multiple: the kernel tile: a rounded width is the next multiple of it.
    """

    def __init__(
        self, network: Network, terms: Iterable[tuple[float, Extent, int]], constant: float = 0.0, multiple: int = 1
    ) -> None:
        self.network = network
        self.constant = constant
        self.multiple = multiple
        offset = len(network.axis_fixed)
        sums: dict[tuple[int, ...], float] = {}
        for coefficient, extent, rounded in terms:
            axes = list(extent.axes)
            if rounded and multiple > 1:
                # rounded widths stand behind the plain ones in the table of widths
                axes[axes.index(rounded)] += offset
            key = tuple(sorted(axes, reverse=True))
            sums[key] = sums.get(key, 0.0) + coefficient * extent.factor
        kept = {axes: coefficient for axes, coefficient in sums.items() if coefficient}
        self._coefficients = np.array(list(kept.values()), dtype=np.float64)
        self._axes = padded_axes(list(kept))
        self._rounds = self._axes >= offset
        self._plain = np.where(self._rounds, self._axes - offset, self._axes)
        self._touched = Touched(network, self._plain)

    def total(self, kept: np.ndarray) -> np.ndarray:
        """kept: (groups,) or (groups, plans) -> () or (plans,) float64."""
        widths = self.network.widths(kept)
        return np.asarray(self._coefficients @ self._products(widths) + self.constant)

    def changed(self, changes: Changes) -> np.ndarray:
        """(changes,) float64: the total of every changed plan."""
        widths = self.network.widths(changes.kept)
        change, term, growth = self._touched.pairs(changes)
        lengths = (widths[self._plain[term]] + growth).astype(np.float64)
        lengths = np.where(self._rounds[term], self._tiled(lengths), lengths)
        before = self._products(widths)
        differences = self._coefficients[term] * (lengths.prod(axis=1) - before[term])
        total = self._coefficients @ before + self.constant
        return np.asarray(total + np.bincount(change, differences, len(changes.groups)))

    def _products(self, widths: np.ndarray) -> np.ndarray:
        """(terms,) or (terms, plans) float64: the product of each term's widths."""
        table = np.concatenate([widths, self._tiled(widths)]).astype(np.float64)
        result = np.ones((len(self._axes), *widths.shape[1:]))
        for column in self._axes.T:
            result *= table[column]
        return result

    def _tiled(self, widths: np.ndarray) -> np.ndarray:
        return np.asarray(np.ceil(widths / self.multiple) * self.multiple)
