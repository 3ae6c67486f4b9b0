"""Splits over numpy arrays (or memory maps) in memory."""

from __future__ import annotations

import hashlib
from functools import cached_property

import numpy as np

from edgeprune.data.checks import check_arrays
from edgeprune.data.indexed import IndexedSplit
from edgeprune.data.labels import LabelLayout, class_numbers, conform
from edgeprune.data.signature import Signature

_HASH_BYTES = 8 * 2**20


class ArraySplit(IndexedSplit):
    """Samples in arrays. Several splits can share the same arrays: each holds positions, not copies.

    Args:
        x: per model input (n, *shape), any boolean, integer or float type; cast batch by batch.
        y: per model output (n, ...); see labels.layout_of.
        layouts: per model output how y is laid out.
        signature: of the model.
        positions: (size,) the rows of x and y that belong to this split.
    """

    def __init__(
        self,
        x: tuple[np.ndarray, ...],
        y: tuple[np.ndarray, ...],
        layouts: tuple[LabelLayout, ...],
        signature: Signature,
        positions: np.ndarray,
    ) -> None:
        super().__init__(signature, len(positions))
        self._x = x
        self._y = y
        self._layouts = layouts
        self._positions = positions

    @classmethod
    def checked(
        cls, x: tuple[np.ndarray, ...], y: tuple[np.ndarray, ...], signature: Signature, where: str = "data"
    ) -> ArraySplit:
        """All rows of x and y. where: name of the data in messages.

        Raises:
            InputError: the data don't fit the model; see checks.check_arrays.
        """
        layouts = check_arrays(x, y, signature, where)
        return cls(x, y, layouts, signature, np.arange(len(x[0])))

    def subset(self, positions: np.ndarray) -> ArraySplit:
        """The samples at `positions` of this split as a split of their own, on the same arrays."""
        return ArraySplit(self._x, self._y, self._layouts, self.signature, self._positions[positions])

    def take_inputs(self, positions: np.ndarray) -> tuple[np.ndarray, ...]:
        """See IndexedSplit.take_inputs."""
        rows = self._positions[positions]
        return tuple(
            np.asarray(array[rows], dtype=port.dtype)
            for array, port in zip(self._x, self.signature.inputs, strict=True)
        )

    def take_labels(self, positions: np.ndarray) -> tuple[np.ndarray, ...]:
        """See IndexedSplit.take_labels."""
        rows = self._positions[positions]
        return tuple(conform(array[rows], layout) for array, layout in zip(self._y, self._layouts, strict=True))

    def classes(self) -> np.ndarray | None:
        """Class numbers of the first output that has one class per sample."""
        return self._classes

    @cached_property
    def _classes(self) -> np.ndarray | None:
        for array, layout, port in zip(self._y, self._layouts, self.signature.outputs, strict=True):
            if array.ndim <= 2:
                numbers = class_numbers(conform(array[self._positions], layout), port)
                if numbers is not None:
                    return numbers
        return None

    def fingerprint(self) -> str:
        """sha256 over types, shapes and values, in order."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256()
        for array in (*self._x, *self._y):
            digest.update(f"{array.dtype.str}{(self.size, *array.shape[1:])}".encode())
            rows = max(1, _HASH_BYTES // max(1, array.nbytes // len(array)))
            for start in range(0, self.size, rows):
                digest.update(np.ascontiguousarray(array[self._positions[start : start + rows]]).tobytes())
        return digest.hexdigest()
