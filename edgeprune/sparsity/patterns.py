"""Which weights may go together, and how many at least must stay: unstructured, N:M, blocks.

Patterns see a kernel as the runtime stores it, (positions, outputs, inputs), the last axis in sequence; for TFLite that
is [out, h, w, in]. An axis that a group doesn't divide ends with a shorter group, as if it were padded with zeros.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from edgeprune.errors import InputError

CHANNELS = "channels"
_FORMS = '"unstructured", N:M such as "2:4", a block such as "1x4" (outputs x inputs), or "channels"'


class Pattern(Protocol):
    """Turns scores of weights into scores of what is pruned as one, and decisions about those back."""

    def unit_scores(self, view: np.ndarray) -> np.ndarray:
        """Mean score of each unit. view: (positions, outputs, inputs) float32 -> (units,) float32; +inf for a unit
        that the pattern lets stay."""
        ...

    def expand(self, keep: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
        """(units,) bool -> (positions, outputs, inputs) bool."""
        ...

    def prunable(self, shape: tuple[int, int, int]) -> int:
        """How many units of a kernel may go."""
        ...

    def unit_sizes(self, shape: tuple[int, int, int]) -> int | np.ndarray:
        """Weights in each unit: one number where all are alike, else (units,) int64."""
        ...

    @property
    def fixes_sparsity(self) -> bool:
        """Whether the pattern says how many weights stay; a schedule then only gives the pace."""
        ...


@dataclass(frozen=True)
class Unstructured:
    """Every weight on its own."""

    fixes_sparsity: bool = False

    def unit_scores(self, view: np.ndarray) -> np.ndarray:
        return view.reshape(-1)

    def expand(self, keep: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
        return keep.reshape(shape)

    def prunable(self, shape: tuple[int, int, int]) -> int:
        return int(np.prod(shape, dtype=np.int64))

    def unit_sizes(self, shape: tuple[int, int, int]) -> int | np.ndarray:
        return 1


@dataclass(frozen=True)
class NOfM:
    """Of every `m` weights in sequence at most `n` stay (Mishra et al. 2021, "Accelerating Sparse Deep Neural
    Networks", there 2:4)."""

    n: int
    m: int
    fixes_sparsity: bool = True

    def unit_scores(self, view: np.ndarray) -> np.ndarray:
        inputs = view.shape[-1]
        groups = _padded(view, (1, self.m), -np.inf).reshape(-1, self.m)
        # The padding counts as the group's first zeros; of equal scores the first goes.
        order = np.argsort(groups, axis=1, kind="stable")
        scores = groups.copy()
        np.put_along_axis(scores, order[:, self.m - self.n :], np.inf, axis=1)
        flat: np.ndarray = scores.reshape(*view.shape[:2], -1)[:, :, :inputs].reshape(-1)
        return flat

    def expand(self, keep: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
        return keep.reshape(shape)

    def prunable(self, shape: tuple[int, int, int]) -> int:
        whole, rest = divmod(shape[2], self.m)
        return shape[0] * shape[1] * (whole * (self.m - self.n) + max(rest - self.n, 0))

    def unit_sizes(self, shape: tuple[int, int, int]) -> int | np.ndarray:
        return 1


@dataclass(frozen=True)
class Block:
    """`rows` outputs x `columns` inputs go together (Gray, Radford, Kingma 2017; TFLite's block-sparse Dense)."""

    rows: int
    columns: int
    fixes_sparsity: bool = False

    def unit_scores(self, view: np.ndarray) -> np.ndarray:
        sums = self._blocks(_padded(view, (self.rows, self.columns), 0.0)).sum(axis=(2, 4), dtype=np.float32)
        means: np.ndarray = sums / self._sizes(view.shape[1], view.shape[2])
        return means.reshape(-1)

    def expand(self, keep: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
        positions, outputs, inputs = shape
        grid = keep.reshape(positions, -(-outputs // self.rows), -(-inputs // self.columns))
        whole = np.repeat(np.repeat(grid, self.rows, axis=1), self.columns, axis=2)
        return whole[:, :outputs, :inputs]

    def prunable(self, shape: tuple[int, int, int]) -> int:
        return shape[0] * -(-shape[1] // self.rows) * -(-shape[2] // self.columns)

    def unit_sizes(self, shape: tuple[int, int, int]) -> int | np.ndarray:
        positions, outputs, inputs = shape
        if outputs % self.rows == 0 and inputs % self.columns == 0:
            return self.rows * self.columns
        return np.tile(self._sizes(outputs, inputs).astype(np.int64).reshape(-1), positions)

    def _blocks(self, padded: np.ndarray) -> np.ndarray:
        """(positions, block rows, rows, block columns, columns)"""
        positions, outputs, inputs = padded.shape
        return padded.reshape(positions, outputs // self.rows, self.rows, inputs // self.columns, self.columns)

    def _sizes(self, outputs: int, inputs: int) -> np.ndarray:
        """Real weights of each block, (block rows, block columns): those at the end may be cut."""
        rows = np.minimum(self.rows, outputs - np.arange(0, outputs, self.rows))
        columns = np.minimum(self.columns, inputs - np.arange(0, inputs, self.columns))
        sizes: np.ndarray = np.outer(rows, columns).astype(np.float32)
        return sizes


def _padded(view: np.ndarray, multiples: tuple[int, int], fill: float) -> np.ndarray:
    extra = [-length % multiple for length, multiple in zip(view.shape[1:], multiples, strict=True)]
    if not any(extra):
        return view
    return np.pad(view, ((0, 0), (0, extra[0]), (0, extra[1])), constant_values=fill)


def parse_pattern(text: str) -> Pattern:
    """The pattern of that name; "channels" is not one of them.

    Raises:
        InputError: not a pattern, N not below M, or an empty block.
    """
    if text == "unstructured":
        return Unstructured()
    if isinstance(text, str) and (found := re.fullmatch(r"(\d{1,6}):(\d{1,6})", text)):
        n, m = int(found[1]), int(found[2])
        if not 1 <= n < m:
            raise InputError(
                f'the pattern "{text}" keeps {n} of every {m} weights; N:M needs 1 <= N < M, for example "2:4"'
            )
        return NOfM(n, m)
    if isinstance(text, str) and (found := re.fullmatch(r"(\d{1,6})x(\d{1,6})", text)):
        rows, columns = int(found[1]), int(found[2])
        if rows < 1 or columns < 1 or rows * columns < 2:
            raise InputError(f'the block "{text}" must hold at least two weights; give outputs x inputs, such as "1x4"')
        return Block(rows, columns)
    raise InputError(f"unknown pattern {text!r}; give {_FORMS}")
