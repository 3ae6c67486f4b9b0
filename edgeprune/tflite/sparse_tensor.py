"""The dense values of a sparse-encoded tensor.

The encoding is that of TACO, level by level (schema.fbs, SparsityParameters): the tensor's axes, then the axes inside a
block. A DENSE level holds every coordinate, a SPARSE_CSR level those between two segments.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema


def dense_values(tensor: Any, stored: np.ndarray) -> np.ndarray:
    """The values of a sparse TensorT as one dense array.

    Args:
        tensor: with `sparsity`; its file was checked by `flatbuffer.parse_model`.
        stored: (n,) of any dtype, the stored values in order.

    Returns:
        An array of the tensor's shape and the dtype of `stored`; zero where nothing is stored.

    Raises:
        ValueError: the indices don't agree with the shape or the values.
    """
    shape = tuple(int(size) for size in tensor.shape)
    block_map = [int(axis) for axis in _list(tensor.sparsity.blockMap)]
    order = [int(dimension) for dimension in tensor.sparsity.traversalOrder]
    sizes = [int(dim.denseSize) for dim in tensor.sparsity.dimMetadata[len(shape) :]]
    dense = np.zeros(shape, stored.dtype)
    levels = _coordinates(tensor.sparsity.dimMetadata)
    if len(levels) != len(order) or len(levels[-1]) != len(stored):
        raise ValueError(f"{len(stored)} values for {len(levels[-1])} indices")
    by_dimension = dict(zip(order, levels, strict=True))
    coordinates = [by_dimension[axis] for axis in range(len(shape))]
    for number, (axis, size) in enumerate(zip(block_map, sizes, strict=True)):
        coordinates[axis] = coordinates[axis] * size + by_dimension[len(shape) + number]
    try:
        dense[tuple(coordinates)] = stored
    except IndexError as error:
        raise ValueError(f"an index lies outside the shape {shape}") from error
    return dense


def _coordinates(levels: list[Any]) -> list[np.ndarray]:
    """For every level the coordinate of each stored value, (values,) int64."""
    found: list[np.ndarray] = []
    parents = 1
    for level in levels:
        if level.format == schema.DimensionType.SPARSE_CSR:
            segments = np.asarray(level.arraySegments.values, dtype=np.int64)
            own = np.asarray(level.arrayIndices.values, dtype=np.int64)
            counts = np.diff(segments)
            if len(counts) != parents or counts.sum() != len(own):
                raise ValueError("segments and indices don't agree")
            found = [np.repeat(coordinates, counts) for coordinates in found]
        else:
            own = np.tile(np.arange(level.denseSize, dtype=np.int64), parents)
            found = [np.repeat(coordinates, level.denseSize) for coordinates in found]
        found.append(own)
        parents = len(own)
    return found


def _list(values: Any) -> Any:
    return [] if values is None else values
