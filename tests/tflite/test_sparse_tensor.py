"""Decoding sparse tensors: the examples of schema.fbs by hand, and random ones against an encoder written here."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgeprune.tflite.sparse_tensor import dense_values

pytestmark = pytest.mark.unit

DENSE, CSR = schema.DimensionType.DENSE, schema.DimensionType.SPARSE_CSR


def vector(values, dtype=np.uint8):
    kinds = {np.uint8: schema.Uint8VectorT, np.uint16: schema.Uint16VectorT, np.int32: schema.Int32VectorT}
    return kinds[dtype](values=np.asarray(values, dtype))


def dense_level(size: int) -> schema.DimensionMetadataT:
    return schema.DimensionMetadataT(format=DENSE, denseSize=size)


def csr_level(segments, indices, dtype=np.uint8) -> schema.DimensionMetadataT:
    return schema.DimensionMetadataT(
        format=CSR, denseSize=0, arraySegments=vector(segments, dtype), arrayIndices=vector(indices, dtype)
    )


def tensor(shape, order, levels, block_map=None) -> schema.TensorT:
    sparsity = schema.SparsityParametersT(traversalOrder=order, blockMap=block_map, dimMetadata=levels)
    return schema.TensorT(shape=np.array(shape, np.int32), sparsity=sparsity)


def test_rows_of_nonzeros():
    """[[0, 7, 0], [0, 0, 0], [1, 0, 2]]"""
    found = dense_values(
        tensor((3, 3), [0, 1], [dense_level(3), csr_level([0, 1, 1, 3], [1, 0, 2])]), np.array([7, 1, 2], np.int8)
    )
    np.testing.assert_array_equal(found, [[0, 7, 0], [0, 0, 0], [1, 0, 2]])
    assert found.dtype == np.int8


def test_blocks():
    """2x4 of 1x2 blocks: the second of row 0, the first of row 1."""
    levels = [dense_level(2), csr_level([0, 1, 2], [1, 0]), dense_level(2)]
    found = dense_values(tensor((2, 4), [0, 1, 2], levels, [1]), np.array([1, 2, 3, 4], np.float32))
    np.testing.assert_array_equal(found, [[0, 0, 1, 2], [3, 4, 0, 0]])


def test_blocks_of_two_axes_in_another_order():
    """schema.fbs's example of a 4x4 matrix in 2x2 blocks: block (1, 0) holds 1 2 / 3 4, stored by columns inside."""
    levels = [dense_level(2), csr_level([0, 0, 1], [0]), dense_level(2), dense_level(2)]
    found = dense_values(tensor((4, 4), [0, 1, 3, 2], levels, [0, 1]), np.array([1, 3, 2, 4], np.float32))
    expected = np.zeros((4, 4))
    expected[2:, :2] = [[1, 2], [3, 4]]
    np.testing.assert_array_equal(found, expected)


@given(arrays.arrays(np.int8, st.tuples(*[st.integers(1, 4)] * 4), elements=st.sampled_from([0, 0, 3, -1])))
def test_any_kernel(kernel):
    """Row-compressed along the last axis, as the converter stores kernels."""
    rows = kernel.reshape(-1, kernel.shape[-1])
    segments = np.concatenate([[0], np.cumsum((rows != 0).sum(axis=1))])
    levels = [*map(dense_level, kernel.shape[:-1]), csr_level(segments, np.nonzero(rows)[1], np.uint16)]
    found = dense_values(tensor(kernel.shape, [0, 1, 2, 3], levels), rows[rows != 0])
    np.testing.assert_array_equal(found, kernel)


@pytest.mark.parametrize(
    ("segments", "indices", "count"),
    [([0, 1, 1], [1], 1), ([0, 1, 1, 3], [1, 0], 2), ([0, 1, 1, 3], [1, 0, 3], 3), ([0, 1, 1, 3], [1, 0, 2], 2)],
    ids=["too few rows", "too few indices", "a column too far", "too few values"],
)
def test_indices_that_do_not_fit_are_refused(segments, indices, count):
    with pytest.raises(ValueError, match="."):
        dense_values(tensor((3, 3), [0, 1], [dense_level(3), csr_level(segments, indices)]), np.ones(count, np.float32))
