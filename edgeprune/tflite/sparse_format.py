"""TFLite's sparse encodings of a tensor: which exist, how many bytes each takes, and the smallest.

A format walks the tensor's axes in some order (schema.fbs, SparsityParameters; TACO, Kjolstad et al. 2017). Each axis
is a level that holds every coordinate (dense) or only those with something below (SPARSE_CSR: one index per child, one
segment per parent). Values may be grouped into dense blocks, which come last. Index arrays take the narrowest of uint8,
uint16 and int32.

The runtime's own unpacker takes all of these (LiteRT, internal/utils/sparsity_format_converter.cc): any order of the
axes, any level compressed, and blocks whose sizes divide the axes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, permutations, product
from math import prod

import numpy as np

# Sizes of blocks along the first and the last axis: outputs and inputs of kernels.
_SIDES = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class SparseFormat:
    """One way to store a tensor.

    order: (rank,) the axes, outermost first. compressed: (rank,) whether the level of `order` at that place is
    SPARSE_CSR. block: (rank,) size of the dense blocks along each axis of the tensor; all 1 for single values.
    """

    order: tuple[int, ...]
    compressed: tuple[bool, ...]
    block: tuple[int, ...]

    @property
    def name(self) -> str:
        """ "sparse", or "block 1x4" with the block's shape, as `weights.encoding_of` says it."""
        return "sparse" if prod(self.block) == 1 else "block " + "x".join(map(str, self.block))


def width(largest: int) -> int:
    """Bytes per entry of an index array whose largest entry is `largest`."""
    return 1 if largest < 1 << 8 else 2 if largest < 1 << 16 else 4


def rows_format(shape: tuple[int, ...], block: tuple[int, ...] | None = None) -> SparseFormat:
    """The converter's own: rows along the last axis are compressed, alone or in blocks."""
    rank = len(shape)
    return SparseFormat(tuple(range(rank)), (False,) * (rank - 1) + (True,), block or (1,) * rank)


def blocks(shape: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """The blocks that are tried: over the first and the last axis, of sizes that divide both."""
    sides = [[side for side in _SIDES if size % side == 0] for size in (shape[0], shape[-1])]
    if len(shape) < 2:
        yield (1,) * len(shape)
        return
    for first, last in product(*sides):
        yield (first, *(1,) * (len(shape) - 2), last)


class Occupancy:
    """What decides on the bytes of a tensor's formats, for one block: how many coordinates hold something."""

    def __init__(self, nonzero: np.ndarray, block: tuple[int, ...]) -> None:
        """nonzero: bool, of the tensor's shape. block: divides the shape."""
        self.block = block
        self.grid = block_grid(nonzero, block)
        self.values = max(int(np.count_nonzero(self.grid)), 1) * prod(block)
        # By bit mask of axes: how many coordinates along them are not empty. Axes of size 1 have no bit.
        self._counts: dict[int, int] = {0: 1}
        self._wide = [axis for axis, size in enumerate(self.grid.shape) if size > 1]

    def largest_index(self, axis: int) -> int:
        """The last coordinate along an axis that holds something."""
        line = self.grid.any(axis=tuple(other for other in range(self.grid.ndim) if other != axis))
        return int(np.flatnonzero(line)[-1])

    def count_all(self) -> None:
        """Count the coordinates along every set of axes."""
        self._count(sum(1 << axis for axis in self._wide), self.grid, 0)
        self._largest = [self.largest_index(axis) for axis in range(self.grid.ndim)]

    def _count(self, axes: int, grid: np.ndarray, start: int) -> None:
        """Count `grid` and its projections along the wide axes from number `start` on."""
        self._counts[axes] = int(np.count_nonzero(grid))
        for number in range(start, len(self._wide)):
            # projected axes keep their place, with size 1
            axis = self._wide[number]
            self._count(axes & ~(1 << axis), np.asarray(grid.any(axis=axis, keepdims=True)), number + 1)

    def bytes(self, order: tuple[int, ...], compressed: tuple[bool, ...], value_bytes: int) -> int:
        """Bytes of values and indices in a format with this block."""
        parents, axes, total = 1, 0, 0
        for axis, sparse in zip(order, compressed, strict=True):
            size = self.grid.shape[axis]
            axes |= 1 << axis if size > 1 else 0
            children = self._counts[axes] if sparse else parents * size
            if sparse:
                total += (parents + 1) * width(children) + children * width(self._largest[axis])
            parents = children
        return total + parents * prod(self.block) * value_bytes


def block_grid(nonzero: np.ndarray, block: tuple[int, ...]) -> np.ndarray:
    """One bool per block of a tensor: whether it is stored. The first block is, of a tensor that holds zeros alone: a
    buffer without a byte is no constant."""
    split = tuple(chain.from_iterable((size // side, side) for size, side in zip(nonzero.shape, block, strict=True)))
    grid = np.asarray(nonzero.reshape(split).any(axis=tuple(range(1, len(split), 2))))
    if not grid.any():
        grid.reshape(-1)[0] = True
    return grid


def format_bytes(nonzero: np.ndarray, form: SparseFormat, value_bytes: int) -> int:
    """Bytes that a tensor takes in a format: values and index arrays.

    Args:
        nonzero: bool, of the tensor's shape.
        form: a format whose block divides the shape.
        value_bytes: per stored value.
    """
    seen = Occupancy(nonzero, form.block)
    seen.count_all()
    return seen.bytes(form.order, form.compressed, value_bytes)


def smallest_format(nonzero: np.ndarray, value_bytes: int) -> tuple[SparseFormat, int]:
    """The sparse format that takes the fewest bytes, and how many.

    Args:
        nonzero: bool, of the tensor's shape; its rank is 1 to 4, its size not 0.
        value_bytes: per stored value.

    Returns:
        The format and its bytes. Among equals the one nearest to the converter's: no block, fewest compressed levels,
        axes in the tensor's own order.
    """
    best: tuple[tuple[int, ...], SparseFormat] | None = None
    for block in blocks(nonzero.shape):
        seen = Occupancy(nonzero, block)
        if best is not None and seen.values * value_bytes >= best[0][0]:
            continue  # its values alone take more
        seen.count_all()
        for order, compressed in _levels(seen.grid.shape):
            size = seen.bytes(order, compressed, value_bytes)
            rank = (size, prod(block), sum(compressed), *order)
            if best is None or rank < best[0]:
                best = rank, SparseFormat(order, compressed, block)
    assert best is not None  # the block of single values is always tried
    return best[1], best[0][0]


def _levels(shape: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], tuple[bool, ...]]]:
    """Orders of the axes with the levels that are compressed, at least one. Axes of size 1 come first, dense."""
    wide = [axis for axis, size in enumerate(shape) if size > 1]
    moved = wide or [len(shape) - 1]
    still = tuple(axis for axis in range(len(shape)) if axis not in moved)
    for order in permutations(moved):
        for choice in product((False, True), repeat=len(moved)):
            if any(choice):
                yield still + order, (False,) * len(still) + choice
