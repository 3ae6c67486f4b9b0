"""Bytes of sparse formats, and the smallest, against encoders that share nothing with them."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
import scipy.sparse
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeprune.tflite.sparse_format import SparseFormat, format_bytes, rows_format, smallest_format
from edgeprune.tflite.sparse_tensor import dense_values, encode
from edgeprune.tflite.weights import encoding_of, index_bytes

pytestmark = pytest.mark.unit


@st.composite
def kernels(draw, largest: int = 4, rank: int = 4):
    """Weights with zeros that lie anywhere, in whole slices, or in blocks."""
    shape = tuple(draw(st.lists(st.integers(1, largest), min_size=1, max_size=rank)))
    seed, share = draw(st.integers(0, 2**32 - 1)), draw(st.floats(0, 1))
    random = np.random.default_rng(seed)
    kept = random.random(shape) >= share
    for axis in draw(st.sets(st.integers(0, len(shape) - 1))):
        kept &= np.expand_dims(
            random.random(shape[axis]) >= share, [other for other in range(len(shape)) if other != axis]
        )
    return np.where(kept, random.integers(1, 100, shape), 0).astype(draw(st.sampled_from(["i1", "<f2", "<f4"])))


def array_bytes(entries: list[int]) -> int:
    """An index array in the narrowest type."""
    return len(entries) * (1 if max(entries) < 256 else 2 if max(entries) < 65536 else 4)


def walked_bytes(dense: np.ndarray, order, compressed, block) -> int:
    """Bytes of values and indices by walking down the levels, coordinate by coordinate."""
    grid: dict[tuple[int, ...], bool] = {}
    for place, value in np.ndenumerate(dense):
        at = tuple(place[axis] // block[axis] for axis in order)
        grid[at] = grid.get(at, False) or value != 0
    if not any(grid.values()):
        grid[tuple(0 for _ in order)] = True
    sizes = [dense.shape[axis] // block[axis] for axis in order]
    nodes: list[tuple[int, ...]] = [()]
    total = 0
    for size, sparse in zip(sizes, compressed, strict=True):
        children, segments, indices = [], [0], []
        for node in nodes:
            for at in range(size):
                below = (*node, at)
                if not sparse or any(full and place[: len(below)] == below for place, full in grid.items()):
                    children.append(below)
                    indices.append(at)
            segments.append(len(children))
        total += array_bytes(segments) + array_bytes(indices) if sparse else 0
        nodes = children
    return total + len(nodes) * int(np.prod(block)) * dense.itemsize


def every_format(shape):
    sides = [[side for side in (1, 2, 4, 8, 16) if size % side == 0] for size in shape]
    sides = [side if axis in (0, len(shape) - 1) and len(shape) > 1 else [1] for axis, side in enumerate(sides)]
    for block in product(*sides):
        for order in permutations(range(len(shape))):
            for compressed in product((False, True), repeat=len(shape)):
                if any(compressed):
                    yield order, compressed, block


def tensor(shape, parameters) -> schema.TensorT:
    return schema.TensorT(shape=np.array(shape, np.int32), sparsity=parameters)


@settings(max_examples=60, deadline=None)
@given(kernels(largest=4, rank=3))
def test_the_smallest_is_the_smallest_of_all(dense):
    """Or all values as they are: of an axis of size 1 a compressed level comes close to that, and is not tried."""
    _, size = smallest_format(dense != 0, dense.itemsize)
    smallest = min(walked_bytes(dense, *form) for form in every_format(dense.shape))
    assert min(size, dense.nbytes) == min(smallest, dense.nbytes)


@settings(max_examples=60, deadline=None)
@given(kernels(), st.data())
def test_any_format_takes_the_bytes_it_says_and_keeps_the_values(dense, data):
    form = SparseFormat(*data.draw(st.sampled_from(list(every_format(dense.shape)))))
    values, parameters = encode(dense, form)
    stored = tensor(dense.shape, parameters)
    assert values.dtype == dense.dtype
    assert values.nbytes + index_bytes(stored) == format_bytes(dense != 0, form, dense.itemsize)
    assert values.nbytes + index_bytes(stored) == walked_bytes(dense, form.order, form.compressed, form.block)
    assert encoding_of(stored) == form.name
    np.testing.assert_array_equal(dense_values(stored, values), dense)


@pytest.mark.parametrize("shape", [(300, 40), (40, 300), (256, 257), (70, 1000)])
@pytest.mark.parametrize("share", [0.3, 0.9, 0.99])
def test_wide_matrices_against_scipy(shape, share):
    """Of rows, columns and blocks the smallest is never undercut, and each has as many entries as SciPy's."""
    random = np.random.default_rng(shape[0])
    dense = np.where(random.random(shape) >= share, 1, 0).astype(np.float16)
    sizes = []
    for matrix in (scipy.sparse.csr_matrix(dense.astype("f4")), scipy.sparse.csc_matrix(dense.astype("f4"))):
        pointers, indices = matrix.indptr.tolist(), matrix.indices.tolist()
        sizes.append(2 * matrix.nnz + array_bytes(pointers) + array_bytes(indices))
    assert format_bytes(dense != 0, rows_format(shape), 2) == sizes[0]
    assert format_bytes(dense != 0, SparseFormat((1, 0), (False, True), (1, 1)), 2) == sizes[1]
    for block in ((1, 4), (4, 4), (1, 16)):
        if shape[0] % block[0] == 0 and shape[1] % block[1] == 0:
            matrix = scipy.sparse.bsr_matrix(dense.astype("f4"), blocksize=block)
            filled = matrix.data.any(axis=(1, 2))
            assert filled.all()
            sizes.append(
                2 * matrix.data.size + array_bytes(matrix.indptr.tolist()) + array_bytes(matrix.indices.tolist())
            )
            assert format_bytes(dense != 0, rows_format(shape, block), 2) == sizes[-1]
    assert smallest_format(dense != 0, 2)[1] <= min(sizes)


def test_the_narrower_side_is_compressed():
    """600 inputs need two bytes per index, 100 outputs one: walking along outputs saves a byte per weight."""
    nonzero = np.random.default_rng(0).random((100, 600)) >= 0.9
    form, size = smallest_format(nonzero, 2)
    assert form == SparseFormat((1, 0), (False, True), (1, 1))
    assert size == np.count_nonzero(nonzero) * (2 + 1) + 601 * 2


def test_zeros_alone_still_store_a_value():
    """A buffer without bytes would be no constant."""
    values, parameters = encode(np.zeros((3, 5), np.float32), rows_format((3, 5)))
    np.testing.assert_array_equal(values, [0.0])
    np.testing.assert_array_equal(dense_values(tensor((3, 5), parameters), values), np.zeros((3, 5)))


def test_empty_rows_are_left_out():
    """100 rows of which one is full: a level for the row (2 segments, 1 index), and its 50 values."""
    nonzero = np.zeros((100, 50), bool)
    nonzero[7] = True
    form, size = smallest_format(nonzero, 4)
    assert form == SparseFormat((0, 1), (True, False), (1, 1))
    assert size == 50 * 4 + 2 + 1
