"""Bytes in other encodings, against encoders that really encode: SciPy, zlib, bits packed by NumPy."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
import scipy.sparse
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeprune.tflite.encodings import compare_encodings
from edgeprune.tflite.flatbuffer import parse_model
from edgeprune.tflite.sparse_format import SparseFormat, rows_format
from edgeprune.tflite.sparse_tensor import encode
from tests.tflite.model_files import ModelFile, dense_network, sparse_encoding

pytestmark = pytest.mark.unit


def compared(*weights: np.ndarray, dtype: str | None = None):
    file = ModelFile()
    for weight in weights:
        file.tensor(weight.shape, dtype or weight.dtype.name, weight, name="kernel")
    return compare_encodings(parse_model(file.pack(), "m.tflite"))


def with_zeros(shape, share: float, seed: int = 0, dtype="f4") -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.where(random.random(shape) >= share, random.integers(1, 9, shape), 0).astype(dtype)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(1, 9), min_size=2, max_size=5).map(tuple).filter(lambda shape: np.prod(shape) > 1),
    st.floats(0, 1),
    st.integers(0, 99),
    st.sampled_from(["f4", "f2", "i1"]),
)
def test_sizes_are_those_of_real_encoders(shape, share, seed, dtype):
    weight = with_zeros(shape, share, seed, dtype)
    (found,) = compared(weight).weights
    matrix = scipy.sparse.csr_matrix(weight.reshape(shape[0], -1).astype("f4"))
    assert (matrix.indices.dtype, matrix.indptr.dtype) == (np.int32, np.int32)
    assert found.csr == matrix.nnz * weight.itemsize + matrix.indices.nbytes + matrix.indptr.nbytes
    assert found.bitmask == np.packbits(weight.reshape(-1) != 0).nbytes + weight[weight != 0].nbytes
    assert found.gzip == len(zlib.compress(weight.tobytes(), 9))
    assert found.stored == found.dense == weight.nbytes
    assert found.tflite <= min(found.dense, found.unstructured, *found.blocks.values())


def test_two_of_four_by_hand():
    """3 rows of 8: 6 groups of 4 with 2 values of 4 bytes, and 24 bits that say where they stand."""
    weight = np.tile(np.array([0, 1, 2, 0, 3, 0, 0, 4], np.float32), (3, 1))
    (found,) = compared(weight).weights
    assert (found.n_of_m_pattern, found.n_of_m) == ("2:4", 6 * 2 * 4 + 3)


@pytest.mark.parametrize(
    ("weight", "pattern"),
    [
        (np.eye(4, 8, dtype="f4"), "1:4"),
        (np.zeros((2, 4), "f4"), "1:4"),
        (np.array([[1, 1, 1, 0], [0, 0, 0, 0]], "f4"), "3:4"),
        (np.ones((2, 4), "f4"), None),
        (np.eye(2, 6, dtype="f4"), None),
    ],
    ids=["one", "no value", "three", "full", "no multiple of four"],
)
def test_the_tightest_pattern_is_named(weight, pattern):
    assert compared(weight).weights[0].n_of_m_pattern == pattern


def test_blocks_are_weighed_where_they_divide_the_shape():
    """Each row of 8 x 16 holds one 1x4 block: 16 bytes and a one-byte index each, and 9 segments."""
    weight = np.zeros((8, 16), np.float32)
    weight[:, 4:8] = 1
    (found,) = compared(weight).weights
    assert found.blocks == {"1x4": 8 * 16 + 8 + 9, "1x16": 8 * 64 + 8 + 9, "4x4": 2 * 64 + 2 + 3}
    assert found.unstructured == 8 * 4 * 4 + 32 + 9
    assert compared(np.ones((3, 6), np.float32)).weights[0].blocks == {}


def test_a_sparse_weight_counts_as_what_it_stands_for():
    """Stored in another order and with empty rows left out; as dense as it is when unpacked."""
    weight = with_zeros((16, 24), 0.9)
    form = SparseFormat((1, 0), (True, True), (1, 1))
    values, parameters = encode(weight, form)
    file = ModelFile()
    file.tensor(weight.shape, "float32", values, sparsity=parameters)
    (found,) = compare_encodings(parse_model(file.pack(), "m.tflite")).weights
    (plain,) = compared(weight).weights
    assert found.stored < plain.stored == found.dense
    assert (found.gzip, found.csr, found.tflite, found.bitmask) == (plain.gzip, plain.csr, plain.tflite, plain.bitmask)


def test_what_tflite_can_not_unpack_stays_dense_there():
    """uint8 with a zero point: its zeros are that number."""
    file = ModelFile()
    file.tensor((8, 8), "int8", np.full((8, 8), 5, np.int8), scale=0.1, zero_point=5)
    (found,) = compare_encodings(parse_model(file.pack(), "m.tflite")).weights
    assert (found.tflite, found.tflite_form, found.unstructured, found.blocks) == (64, "dense", None, {})
    assert found.bitmask == 8


def test_shared_data_counts_once_and_totals_are_sums():
    file = dense_network()
    file.tensors[file.tensor((4, 8), name="twin")].buffer = file.tensors[1].buffer
    file.tensor((2, 4), "float32", np.eye(2, 4, dtype="f4"), name="small")
    result = compare_encodings(parse_model(file.pack(), "m.tflite"))
    assert [weight.name for weight in result.weights] == ["kernel", "small"]
    assert result.total.dense == 4 * 8 * 4 + 2 * 4 * 4
    # "kernel" is full, so it counts densely; "small" has two groups of one value and 2 bits
    assert result.total.n_of_m == 128 + 2 * 4 + 1


def damage(change) -> list[str]:
    sparsity = sparse_encoding(4, [1], block=4)
    change(sparsity)
    file = dense_network(sparsity=sparsity, unpack="DENSIFY", data=np.ones(16, np.float32))
    return list(compare_encodings(parse_model(file.pack(), "m.tflite")).left_out)


def huge_level(sparsity) -> None:
    sparsity.dimMetadata[0].denseSize = 2**31 - 1


def negative_level(sparsity) -> None:
    sparsity.dimMetadata[0].denseSize = -4


def no_order(sparsity) -> None:
    sparsity.traversalOrder = None


def twice_in_order(sparsity) -> None:
    sparsity.traversalOrder = np.array([0, 0, 2], np.int32)


def other_axis(sparsity) -> None:
    sparsity.blockMap = np.array([7], np.int32)


def no_levels(sparsity) -> None:
    sparsity.dimMetadata = None


def no_indices(sparsity) -> None:
    sparsity.dimMetadata[1].arrayIndices = None


def falling_segments(sparsity) -> None:
    """One row claims two billion blocks, the next one takes them back: the sum agrees."""
    sparsity.dimMetadata[1].arraySegmentsType = schema.SparseIndexVector.Int32Vector
    sparsity.dimMetadata[1].arraySegments = schema.Int32VectorT(values=np.array([0, 1, 2**31 - 1, 3, 4], np.int32))


@pytest.mark.parametrize(
    "change",
    [huge_level, negative_level, no_order, twice_in_order, other_axis, no_levels, no_indices, falling_segments],
)
def test_damaged_indices_are_left_out(change):
    assert damage(change) == ["kernel"]


def test_intact_indices_are_not():
    assert damage(lambda sparsity: None) == []


def test_a_weight_too_large_for_its_file_is_left_out():
    """100,000 x 100,000 zeros would take 40 GB."""
    size = 100_000
    form = rows_format((2, 2))
    _, parameters = encode(np.zeros((2, 2), np.float32), form)
    parameters.dimMetadata[0].denseSize = size
    file = ModelFile()
    file.tensor((size, size), "float32", np.ones(1, np.float32), sparsity=parameters, name="vast")
    assert compare_encodings(parse_model(file.pack(), "m.tflite")).left_out == ("vast",)
