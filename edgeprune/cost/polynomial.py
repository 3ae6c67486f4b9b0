"""A cost that is a sum of products of widths, evaluated for whole plans or for one changed group at a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from edgeprune.cost.change import Changes, Touched
from edgeprune.cost.counts import padded_axes
from edgeprune.cost.tiles import Tiles
from edgeprune.records.network import Extent, Network


@dataclass(frozen=True)
class Term:
    """coefficient x extent, where some of the extent's axes count in kernel tiles.

    tiles: one per axis of the extent, None where the axis counts as it is; () for none at all.
    """

    coefficient: float
    extent: Extent
    tiles: tuple[Tiles | None, ...] = ()

    def factors(self) -> tuple[tuple[int, Tiles | None], ...]:
        """(axis, its tiles) of every axis."""
        return tuple(zip(self.extent.axes, self.tiles or (None,) * len(self.extent.axes), strict=True))


class Products:
    """Products of widths and tiled widths, one per row.

    Widths stand in a table, behind them the same in the first kind of tiles, and so on.
    """

    def __init__(self, network: Network, rows: Sequence[tuple[tuple[int, Tiles | None], ...]]) -> None:
        self._tiles = sorted(
            {tiles for row in rows for _, tiles in row if tiles}, key=lambda tiles: (tiles.columns, tiles.narrow)
        )
        self._block: dict[Tiles | None, int] = {tiles: number + 1 for number, tiles in enumerate(self._tiles)}
        self._block[None] = 0
        offset = len(network.axis_fixed)
        self._axes = padded_axes([tuple(axis + offset * self._block[tiles] for axis, tiles in row) for row in rows])
        self._kind, self.plain = self._axes // offset, self._axes % offset

    def values(self, widths: np.ndarray) -> np.ndarray:
        """widths: (axes,) or (axes, plans) -> (rows,) or (rows, plans) float64."""
        exact = widths.astype(np.float64)
        table = np.concatenate([exact, *(tiles(exact) for tiles in self._tiles)])
        result = np.ones((len(self._axes), *widths.shape[1:]))
        for column in self._axes.T:
            result *= table[column]
        return result

    def of_lengths(self, row: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """The products of some rows with other lengths. row: (n,), lengths: (n, depth) -> (n,) float64."""
        for number, tiles in enumerate(self._tiles):
            lengths = np.where(self._kind[row] == number + 1, tiles(lengths), lengths)
        return np.asarray(lengths.prod(axis=1))


class Polynomial:
    """constant + sum of terms. Terms over the same axes are added up once, which leaves few of them."""

    def __init__(self, network: Network, terms: Iterable[Term], constant: float = 0.0) -> None:
        self.network = network
        self.constant = constant
        sums: dict[tuple[tuple[int, Tiles | None], ...], float] = {}
        for term in terms:
            key = tuple(sorted(term.factors(), key=_order))
            sums[key] = sums.get(key, 0.0) + term.coefficient * term.extent.factor
        kept = {key: coefficient for key, coefficient in sums.items() if coefficient}
        self._coefficients = np.array(list(kept.values()), dtype=np.float64)
        self._products = Products(network, list(kept))
        self._touched = Touched(network, self._products.plain)

    def total(self, kept: np.ndarray) -> np.ndarray:
        """kept: (groups,) or (groups, plans) -> () or (plans,) float64."""
        return np.asarray(self._coefficients @ self._products.values(self.network.widths(kept)) + self.constant)

    def changed(self, changes: Changes) -> np.ndarray:
        """(changes,) float64: the total of every changed plan."""
        widths = self.network.widths(changes.kept)
        change, term, growth = self._touched.pairs(changes)
        lengths = (widths[self._products.plain[term]] + growth).astype(np.float64)
        before = self._products.values(widths)
        differences = self._coefficients[term] * (self._products.of_lengths(term, lengths) - before[term])
        total = self._coefficients @ before + self.constant
        return np.asarray(total + np.bincount(change, differences, len(changes.groups)))


def term_values(network: Network, terms: Sequence[Term], kept: np.ndarray) -> np.ndarray:
    """(terms,) float64: the value of every term by itself. kept: (groups,)."""
    products = Products(network, [term.factors() for term in terms])
    coefficients = np.array([term.coefficient * term.extent.factor for term in terms], dtype=np.float64)
    return np.asarray(coefficients * products.values(network.widths(kept)))


def _order(factor: tuple[int, Tiles | None]) -> tuple[int, int, float]:
    axis, tiles = factor
    return (-axis, 0, 0.0) if tiles is None else (-axis, tiles.columns, tiles.narrow)
