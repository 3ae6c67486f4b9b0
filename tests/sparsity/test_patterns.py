"""Patterns on views small enough to check by hand, and their rules on random ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeprune.errors import InputError
from edgeprune.sparsity.patterns import Block, NOfM, Unstructured, parse_pattern

pytestmark = pytest.mark.unit

SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 19))


def test_two_of_four_spares_the_two_largest_of_each_group() -> None:
    view = np.array([[[4, 1, 3, 2, 5, 6, 7, 8]]], dtype=np.float32)
    assert np.isposinf(NOfM(2, 4).unit_scores(view)).tolist() == [True, False, True, False, False, False, True, True]


def test_a_short_group_counts_its_padding_as_zeros() -> None:
    # five inputs under 2:4: the last group is (5, pad, pad, pad) and may keep its one weight
    view = np.array([[[4, 1, 3, 2, 5]]], dtype=np.float32)
    assert np.isposinf(NOfM(2, 4).unit_scores(view)).tolist() == [True, False, True, False, True]
    # three inputs under 1:4: one of three stays
    view = np.array([[[4, 1, 3]]], dtype=np.float32)
    assert np.isposinf(NOfM(1, 4).unit_scores(view)).tolist() == [True, False, False]


def test_block_scores_are_means_and_cut_blocks_count_their_own_weights() -> None:
    # outputs x inputs, blocks of 2x2: the right column and the bottom row are cut
    view = np.array([[[1, 3, 10], [5, 7, 20], [2, 4, 9]]], dtype=np.float32)
    block = Block(2, 2)
    assert block.unit_scores(view).tolist() == [4.0, 15.0, 3.0, 9.0]
    keep = np.array([True, False, False, True])
    expected = [[[True, True, False], [True, True, False], [False, False, True]]]
    assert block.expand(keep, (1, 3, 3)).tolist() == expected


def test_blocks_do_not_reach_across_positions() -> None:
    view = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    assert Block(2, 1).unit_scores(view).tolist() == [1.0, 2.0, 5.0, 6.0]


@settings(deadline=None, max_examples=60)
@given(shape=SHAPES, m=st.integers(2, 8), data=st.data())
def test_what_an_n_of_m_pattern_lets_go_leaves_at_most_n_of_every_m(
    shape: tuple[int, int, int], m: int, data: st.DataObject
) -> None:
    n = data.draw(st.integers(1, m - 1))
    # few distinct values, so that there are ties
    view = np.random.default_rng(data.draw(st.integers(0, 99))).integers(0, 4, shape).astype(np.float32)
    pattern = NOfM(n, m)
    units = pattern.unit_scores(view)
    keep = pattern.expand(np.isposinf(units), shape)
    assert np.count_nonzero(~keep) == pattern.prunable(shape)
    for start in range(0, shape[2], m):
        kept = keep[:, :, start : start + m].sum(axis=2)
        assert (kept == min(n, shape[2] - start)).all()


@settings(deadline=None, max_examples=60)
@given(shape=SHAPES, rows=st.integers(1, 4), columns=st.integers(2, 5), seed=st.integers(0, 99))
def test_block_decisions_cover_every_weight_once(
    shape: tuple[int, int, int], rows: int, columns: int, seed: int
) -> None:
    pattern = Block(rows, columns)
    view = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    units = pattern.unit_scores(view)
    assert len(units) == pattern.prunable(shape)
    covered = np.zeros(shape, dtype=int)
    for number in range(len(units)):
        block = pattern.expand(np.arange(len(units)) == number, shape)
        assert np.isclose(units[number], view[block].mean(), atol=1e-5)
        covered += block
    assert (covered == 1).all()


def test_names() -> None:
    assert parse_pattern("unstructured") == Unstructured()
    assert parse_pattern("2:4") == NOfM(2, 4)
    assert parse_pattern("4x16") == Block(4, 16)


@pytest.mark.parametrize("text", ["4:4", "5:4", "0:4", "1x1", "0x4", "2-4", "", "structured", "2:4:8", "-1:4"])
def test_a_bad_name_is_one_line_that_repeats_it(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_pattern(text)
    assert repr(text) in str(caught.value) or f'"{text}"' in str(caught.value)
    assert "\n" not in str(caught.value)
