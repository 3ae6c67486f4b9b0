"""Between a sparse-encoded tensor and its dense values.

The encoding is that of TACO, level by level (schema.fbs, SparsityParameters): the tensor's axes, then the axes inside a
block. A DENSE level holds every coordinate, a SPARSE_CSR level those between two segments.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgeprune.tflite.sparse_format import SparseFormat, block_grid, width

# Bytes per entry -> the vector's number in the union SparseIndexVector, its class, its dtype
_VECTORS: dict[int, tuple[int, Any, Any]] = {
    1: (schema.SparseIndexVector.Uint8Vector, schema.Uint8VectorT, np.uint8),
    2: (schema.SparseIndexVector.Uint16Vector, schema.Uint16VectorT, np.uint16),
    4: (schema.SparseIndexVector.Int32Vector, schema.Int32VectorT, np.int32),
}


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
    _check(tensor.sparsity, shape)
    block_map = [int(axis) for axis in _list(tensor.sparsity.blockMap)]
    order = [int(dimension) for dimension in tensor.sparsity.traversalOrder]
    sizes = [int(dim.denseSize) for dim in tensor.sparsity.dimMetadata[len(shape) :]]
    dense = np.zeros(shape, stored.dtype)
    levels = _coordinates(tensor.sparsity.dimMetadata, dense.size)
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


def encode(dense: np.ndarray, form: SparseFormat) -> tuple[np.ndarray, Any]:
    """The stored values of a tensor in a format, and its SparsityParametersT; `dense_values` turns them back.

    Args:
        dense: of any dtype and of rank 1 or more; zeros are left out where the format can.
        form: its block divides the shape.

    Returns:
        values: (n,) of the dtype of `dense`. parameters: with the narrowest index arrays.
    """
    grid = block_grid(dense != 0, form.block).transpose(form.order)
    stored = np.array(True)  # by coordinates along the levels so far: whether there is a node
    levels = []
    for depth, compressed in enumerate(form.compressed, 1):
        if compressed:
            found = grid.any(axis=tuple(range(depth, grid.ndim)))
            children = found.sum(axis=-1, dtype=np.int64)[stored]
            levels.append(_csr(np.concatenate([[0], np.cumsum(children)]), np.nonzero(found)[-1]))
            stored = found
        else:
            size = grid.shape[depth - 1]
            levels.append(schema.DimensionMetadataT(format=schema.DimensionType.DENSE, denseSize=size))
            stored = np.broadcast_to(stored[..., None], (*stored.shape, size))
    rank = dense.ndim
    blocked = [axis for axis in range(rank) if form.block[axis] > 1]
    for axis in blocked:
        levels.append(schema.DimensionMetadataT(format=schema.DimensionType.DENSE, denseSize=form.block[axis]))
    # axes 2i are those of the grid, 2i + 1 those inside a block
    split = [size for pair in zip(dense.shape, form.block, strict=True) for size in (pair[0] // pair[1], pair[1])]
    ordered = dense.reshape(split).transpose([2 * axis for axis in form.order] + [2 * axis + 1 for axis in range(rank)])
    parameters = schema.SparsityParametersT(
        traversalOrder=np.array([*form.order, *range(rank, rank + len(blocked))], np.int32),
        blockMap=np.array(blocked, np.int32) if blocked else None,
        dimMetadata=levels,
    )
    return ordered[stored].reshape(-1), parameters


def _csr(segments: np.ndarray, indices: np.ndarray) -> Any:
    """A compressed level. Segments rise, so their last entry is the largest."""
    segment_kind, segment_vector, segment_dtype = _VECTORS[width(int(segments[-1]))]
    index_kind, index_vector, index_dtype = _VECTORS[width(int(indices.max()))]
    return schema.DimensionMetadataT(
        format=schema.DimensionType.SPARSE_CSR,
        arraySegmentsType=segment_kind,
        arraySegments=segment_vector(values=segments.astype(segment_dtype)),
        arrayIndicesType=index_kind,
        arrayIndices=index_vector(values=indices.astype(index_dtype)),
    )


def _check(sparsity: Any, shape: tuple[int, ...]) -> None:
    """Check that all parts are there: a level for each axis and for each axis of a block, which is dense."""
    levels, block_map = _list(sparsity.dimMetadata), list(_list(sparsity.blockMap))
    if len(levels) != len(shape) + len(block_map) or not levels or not set(block_map) <= set(range(len(shape))):
        raise ValueError(f"{len(levels)} levels and a block map {block_map} for the shape {shape}")
    if sorted(_list(sparsity.traversalOrder)) != list(range(len(levels))) or min(shape) < 0:
        raise ValueError("the order does not name each level once")
    for level in levels[len(shape) :]:
        if level.format != schema.DimensionType.DENSE:
            raise ValueError("a level inside blocks is not dense")
    for level in levels:
        arrays = (level.arraySegments, level.arrayIndices) if level.format == schema.DimensionType.SPARSE_CSR else ()
        if level.denseSize < 0 or any(array is None or array.values is None for array in arrays):
            raise ValueError("a level lacks its indices or its size")


def _coordinates(levels: list[Any], most: int) -> list[np.ndarray]:
    """For every level the coordinate of each stored value, (values,) int64. most: nodes that a level can have."""
    found: list[np.ndarray] = []
    parents = 1
    for level in levels:
        if level.format == schema.DimensionType.SPARSE_CSR:
            segments = np.asarray(level.arraySegments.values, dtype=np.int64)
            own = np.asarray(level.arrayIndices.values, dtype=np.int64)
            counts = np.diff(segments)
            agree = len(counts) == parents and counts.sum() == len(own) <= most
            # NumPy takes minutes to refuse a falling segment after one that claims a billion entries.
            if not agree or np.any(counts < 0) or np.any(own < 0):
                raise ValueError("segments and indices don't agree")
            found = [np.repeat(coordinates, counts) for coordinates in found]
        else:
            if parents * level.denseSize > most:
                raise ValueError(f"more than {most} values")
            own = np.tile(np.arange(level.denseSize, dtype=np.int64), parents)
            found = [np.repeat(coordinates, level.denseSize) for coordinates in found]
        found.append(own)
        parents = len(own)
    return found


def _list(values: Any) -> Any:
    return [] if values is None else values
