"""Exact counts and the choice of weights, on kernels small enough to check by hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeprune.sparsity.patterns import parse_pattern
from edgeprune.sparsity.ranking import WeightRanking
from edgeprune.sparsity.weights import PrunableWeight

pytestmark = pytest.mark.unit


@dataclass(frozen=True)
class Variable:
    shape: tuple[int, ...]


def dense(inputs: int, outputs: int) -> PrunableWeight:
    """A Dense kernel in Keras layout, (inputs, outputs)."""
    return PrunableWeight("d/kernel", Variable((inputs, outputs)), None, (1, 0), 0, 1)


def ranking(weights: list[PrunableWeight], pattern: str = "unstructured", **changes: Any) -> WeightRanking:
    settings: dict[str, Any] = {"own": (None,) * len(weights), "globally": False, "least": 0, **changes}
    return WeightRanking(tuple(weights), parse_pattern(pattern), **settings)


def pruned(masks: list[np.ndarray]) -> list[list[int]]:
    return [np.flatnonzero(~mask).tolist() for mask in masks]


def test_each_kernel_loses_its_smallest() -> None:
    scores = [np.array([[4, 1], [3, 2]], "f4"), np.array([[40, 10], [30, 20]], "f4")]
    masks = ranking([dense(2, 2), dense(2, 2)]).masks(scores, 1.0, 0.5, None)
    assert pruned(masks) == [[1, 3], [1, 3]]


def test_globally_the_smallest_of_all_go() -> None:
    scores = [np.array([[4, 1], [3, 2]], "f4"), np.array([[40, 10], [30, 20]], "f4")]
    masks = ranking([dense(2, 2), dense(2, 2)], globally=True).masks(scores, 1.0, 0.5, None)
    assert pruned(masks) == [[0, 1, 2, 3], []]


def test_globally_the_least_that_stays_of_each_kernel_is_held() -> None:
    scores = [np.array([[4, 1], [3, 2]], "f4"), np.array([[40, 10], [30, 20]], "f4")]
    masks = ranking([dense(2, 2), dense(2, 2)], globally=True, least=1).masks(scores, 1.0, 0.5, None)
    assert pruned(masks) == [[1, 2, 3], [1]]


def test_a_kernel_with_its_own_sparsity_keeps_the_pace_of_the_schedule() -> None:
    scores = [np.arange(10, dtype="f4").reshape(5, 2), np.arange(10, dtype="f4").reshape(5, 2)]
    made = ranking([dense(5, 2), dense(5, 2)], own=(None, 0.4), globally=True)
    # half of the way: 0.45 of the first kernel's weights would be 4.5, rounded to even 4; 0.2 of the second's
    masks = made.masks(scores, 0.5, 0.45, None)
    assert [len(own) for own in pruned(masks)] == [4, 2]


def test_n_of_m_is_along_the_inputs_and_complete_at_the_end_whatever_the_sparsity() -> None:
    # Keras layout (inputs, outputs): of every 4 inputs of one output 2 stay
    scores = [np.array([[1, 8], [2, 7], [3, 6], [4, 5]], "f4")]
    assert pruned(ranking([dense(4, 2)], "2:4").masks(scores, 1.0, 0.9, None)) == [[0, 2, 5, 7]]
    # half of the way two of the four are gone, the smallest: 1 and 2 of the first output
    assert pruned(ranking([dense(4, 2)], "2:4").masks(scores, 0.5, 0.45, None)) == [[0, 2]]


def test_blocks_are_outputs_by_inputs() -> None:
    scores = [np.array([[1, 9], [1, 9], [9, 1], [9, 1]], "f4")]  # 4 inputs, 2 outputs
    assert pruned(ranking([dense(4, 2)], "1x2").masks(scores, 1.0, 0.5, None)) == [[0, 2, 5, 7]]


def test_a_threshold_bounds_what_goes() -> None:
    scores = [np.array([[-1.0, 1.0], [0.5, 2.0]], "f4")]
    assert pruned(ranking([dense(2, 2)]).masks(scores, 1.0, 0.75, 0.6)) == [[0, 2]]


def test_at_least_so_many_stay() -> None:
    scores = [np.arange(10, dtype="f4").reshape(5, 2)]
    assert pruned(ranking([dense(5, 2)], least=4).masks(scores, 1.0, 0.9, None)) == [[0, 1, 2, 3, 4, 5]]
    assert pruned(ranking([dense(5, 2)], least=99).masks(scores, 1.0, 0.9, None)) == [[]]
    scores = [np.arange(10, dtype="f4").reshape(10, 1)]  # four weights are two blocks of two
    assert [len(own) for own in pruned(ranking([dense(10, 1)], "1x2", least=4).masks(scores, 1.0, 0.9, None))] == [6]


def test_cut_blocks_count_their_own_weights() -> None:
    # 5 inputs in blocks of 1x4: blocks of 4 and of 1 weight for each of 2 outputs; half of 10 weights is 5
    scores = [np.array([[9, 3], [9, 3], [9, 3], [9, 3], [1, 2]], "f4")]
    # from the lowest: single (1), single (1), block (4): 6 are as near to 5 as 2 is not
    assert pruned(ranking([dense(5, 2)], "1x4").masks(scores, 1.0, 0.5, None)) == [[1, 3, 5, 7, 8, 9]]
    # 0.2 of 10 weights: the two singles
    assert pruned(ranking([dense(5, 2)], "1x4").masks(scores, 1.0, 0.2, None)) == [[8, 9]]
    # five weights stay: the best block of four, then the next best one
    assert pruned(ranking([dense(5, 2)], "1x4", least=5).masks(scores, 1.0, 0.9, None)) == [[8, 9]]


@settings(deadline=None, max_examples=60)
@given(
    shapes=st.lists(st.tuples(st.integers(1, 30), st.integers(1, 12)), min_size=1, max_size=3),
    pattern=st.sampled_from(["unstructured", "1x4", "3x2", "1x16", "4x4"]),
    sparsity=st.floats(0, 0.99),
    globally=st.booleans(),
    seed=st.integers(0, 99),
)
def test_sparsity_is_met_to_half_a_unit(
    shapes: list[tuple[int, int]], pattern: str, sparsity: float, globally: bool, seed: int
) -> None:
    random = np.random.default_rng(seed)
    weights = [dense(*shape) for shape in shapes]
    scores = [random.normal(size=shape).astype("float32") for shape in shapes]
    made = ranking(weights, pattern, own=(None,) * len(weights), globally=globally)
    masks = made.masks(scores, 1.0, sparsity, None)
    unit = 1 if pattern == "unstructured" else int(np.prod([int(n) for n in pattern.split("x")]))
    gone = [int(np.count_nonzero(~mask)) for mask in masks]
    wanted = [round(sparsity * score.size) for score in scores]
    if globally:
        gone, wanted = [sum(gone)], [sum(wanted)]
    assert all(abs(g - w) <= unit / 2 for g, w in zip(gone, wanted, strict=True))
