"""Bytes of the sparse encoding, by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeprune.cost.sparse_encoding import UNPACKING_BYTES, SparseKernel, encoded_bytes, saved_bytes, unpacked_bytes

pytestmark = pytest.mark.unit

# 100 outputs of 3 x 3 positions and 64 inputs, 80 % zeros
CONV = SparseKernel(rows=900, columns=64, kept=11_520, channels=100, dense_layer=False)


def test_values_indices_and_segments():
    """100 outputs fit uint8; 11,520 nonzeros need uint16 segments, one more than the 3 x 3 x 64 rows of outputs."""
    assert encoded_bytes(CONV, 4) == 11_520 * 4 + 11_520 * 1 + 577 * 2


@pytest.mark.parametrize(
    ("columns", "kept", "index", "segment"),
    [(256, 255, 1, 1), (257, 256, 2, 2), (65_536, 65_535, 2, 2), (65_537, 65_536, 4, 4)],
)
def test_index_arrays_take_the_narrowest_type(columns, kept, index, segment):
    """The largest column is columns - 1, the largest segment the number of values."""
    kernel = SparseKernel(columns, columns, kept, columns, False)
    assert encoded_bytes(kernel, 2) == kept * 2 + kept * index + (columns + 1) * segment


def test_the_cheaper_of_rows_and_columns_counts():
    """600 inputs need two bytes per index; 100 outputs one, and 601 segments of two."""
    kernel = SparseKernel(100, 600, 6_000, 100, True)
    assert encoded_bytes(kernel, 2) == 6_000 * 2 + 6_000 * 1 + 601 * 2


def test_what_a_mode_saves():
    dense, indices = 57_600, 11_520 + 577 * 2
    assert saved_bytes([CONV], "none") == dense * 4 - (11_520 * 4 + indices) - UNPACKING_BYTES
    assert saved_bytes([CONV], "float16") == dense * 2 - (11_520 * 2 + indices) - UNPACKING_BYTES
    assert saved_bytes([CONV], "int8") == dense - (11_520 + indices) - UNPACKING_BYTES
    assert saved_bytes([CONV, CONV], "none") == 2 * saved_bytes([CONV], "none")


def test_what_is_not_encoded_saves_nothing():
    assert saved_bytes([CONV], "dynamic") == 0
    # full-int8 Dense doesn't load with sparse weights
    assert saved_bytes([replace(CONV, dense_layer=True)], "int8") == 0
    assert saved_bytes([replace(CONV, dense_layer=True)], "none") > 0
    # 15 % zeros: five bytes for each of 85 % take more than four for all
    assert saved_bytes([replace(CONV, kept=48_960)], "none") == 0
    # 50 % zeros of int8: value and index of one half take what all values took, and more
    assert saved_bytes([replace(CONV, kept=28_800)], "int8") == 0


def test_float16_is_unpacked_twice():
    assert unpacked_bytes([CONV], "float16") == 57_600 * 2
    assert unpacked_bytes([replace(CONV, kept=57_600)], "float16") == 0
    assert unpacked_bytes([CONV], "none") == unpacked_bytes([CONV], "int8") == 0


@given(
    st.integers(1, 500),
    st.integers(1, 500),
    st.floats(0, 1),
    st.sampled_from(["none", "float16", "dynamic", "int8"]),
    st.booleans(),
)
def test_the_encoding_never_costs(rows, columns, share, mode, dense_layer):
    kernel = SparseKernel(rows, columns, round(rows * columns * share), rows, dense_layer)
    assert 0 <= saved_bytes([kernel], mode) <= 4 * rows * columns
