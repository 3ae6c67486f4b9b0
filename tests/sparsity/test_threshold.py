"""Selecting the smallest scores: a stable sort is the oracle, for both routes."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from edgeprune.errors import InputError
from edgeprune.sparsity import threshold
from edgeprune.sparsity.threshold import keep_largest

pytestmark = pytest.mark.unit

ROUTES = {"partition": 2**62, "radix": 0}


@pytest.fixture(params=ROUTES)
def route(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to find the threshold, whatever the size."""
    monkeypatch.setattr(threshold, "SMALL", ROUTES[request.param])
    return str(request.param)


def by_sorting(scores: list[np.ndarray], remove: int) -> list[np.ndarray]:
    values = np.concatenate([array.ravel() for array in scores]).astype(np.float32)
    kept = np.ones(values.size, dtype=bool)
    kept[np.argsort(values, kind="stable")[:remove]] = False
    ends = np.cumsum([array.size for array in scores])
    return [part.reshape(array.shape) for part, array in zip(np.split(kept, ends[:-1]), scores, strict=True)]


def assert_masks(found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    assert [mask.dtype for mask in found] == [np.bool_] * len(expected)
    for ours, oracle in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, oracle)


def test_the_smallest_of_all_arrays_go(route):
    first, second = np.float32([[5, 1], [4, 8]]), np.float32([2, 9, 3])
    masks = keep_largest([first, second], 3)
    assert_masks(masks, [np.array([[True, False], [True, True]]), np.array([False, True, False])])


def test_ties_go_in_order(route):
    """Five 1s, of which three go: the first of all, whose array is the first."""
    masks = keep_largest([np.float32([1, 7]), np.float32([1, 1, 1]), np.float32([1, 0])], 4)
    assert [mask.tolist() for mask in masks] == [[False, True], [False, False, True], [True, False]]


def test_order_of_special_values(route):
    values = np.float32([np.inf, 1e-45, -1e-45, 0.0, -np.inf, -0.0, -3e38, 3e38, -1])
    # the ranks; 0.0 and -0.0 are equal, so they go in order
    ranked = [4, 6, 8, 2, 3, 5, 1, 7, 0]
    for remove in range(len(ranked) + 1):
        assert np.flatnonzero(~keep_largest([values], remove)[0]).tolist() == sorted(ranked[:remove])


def test_nothing_and_everything(route):
    scores = [np.float32([[3, 1]]), np.zeros((0, 4), np.float32), np.float32(2.0)]
    assert [mask.all() for mask in keep_largest(scores, 0)] == [True, True, True]
    masks = keep_largest(scores, 3)
    assert [mask.any() for mask in masks] == [False, False, False]
    assert [mask.shape for mask in masks] == [(1, 2), (0, 4), ()]
    assert keep_largest([], 0) == []


float32s = arrays_of.arrays(
    np.float32,
    arrays_of.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=9),
    # few values for many ties, and any float32 there is
    elements=st.sampled_from([-2.0, -1.0, -0.0, 0.0, 1.0, 2.0]) | st.floats(width=32, allow_nan=False),
)


@pytest.mark.parametrize("small", ROUTES.values(), ids=ROUTES)
@given(scores=st.lists(float32s, min_size=1, max_size=4), share=st.floats(0, 1), chunk=st.sampled_from([1, 7, 1 << 18]))
@example(scores=[np.zeros(9, np.float32)], share=0.5, chunk=2)
def test_equal_to_a_stable_sort(small, scores, share, chunk):
    remove = round(share * sum(array.size for array in scores))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threshold, "SMALL", small)
        patch.setattr(threshold, "CHUNK", chunk)
        masks = keep_largest(scores, remove)
    assert sum(np.count_nonzero(~mask) for mask in masks) == remove
    assert_masks(masks, by_sorting(scores, remove))


def test_close_values_over_several_chunks(route):
    """All values share their upper 16 bits (1 + k * 2^-23), so the lower ones decide; negative ones fall with them."""
    lower = np.random.default_rng(0).permutation(1 << 16)[:600_000]
    values = (np.float32(1) + lower.astype(np.float32) * np.float32(2**-23)).astype(np.float32)
    for scores in ([values[:10], values[10:]], [-values]):
        assert_masks(keep_largest(scores, 12_345), by_sorting(scores, 12_345))


def test_other_types_and_layouts(route):
    rng = np.random.default_rng(0)
    scores = [
        rng.standard_normal((30, 20)),
        rng.standard_normal((8, 9)).astype(np.float16),
        rng.standard_normal((20, 30)).astype(np.float32).T,
        rng.standard_normal(100).astype(np.float32)[::-2],
        rng.standard_normal(40).astype(">f4"),
    ]
    assert_masks(keep_largest(scores, 700), by_sorting(scores, 700))


@pytest.mark.filterwarnings("error")
def test_float64_is_compared_as_float32(route):
    # 1 + 1e-12 is 1 as float32; 1e300 is infinite, and still the largest
    assert keep_largest([np.array([1e300, 1 + 1e-12, 1.0])], 1)[0].tolist() == [True, False, True]


def test_nan_names_its_array(route):
    with pytest.raises(InputError, match=r"scores of array 1 \(shape \(2, 2\)\) hold NaN"):
        keep_largest([np.ones(3), np.float32([[1, -np.nan], [0, 1]])], 0)


@pytest.mark.parametrize("remove", [-1, 4])
def test_a_count_out_of_range(remove):
    with pytest.raises(ValueError, match="from 0 to the 3 scores"):
        keep_largest([np.ones(3)], remove)


def peak_bytes(scores: list[np.ndarray]) -> int:
    remove = sum(array.size for array in scores) // 2
    tracemalloc.start()
    keep_largest(scores, remove)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


def test_extra_memory_is_bounded_whatever_the_number_of_scores():
    rng = np.random.default_rng(0)
    million = 1_000_000
    layers = [rng.standard_normal(million, dtype=np.float32) for _ in range(8)]
    masks = 2 * million
    assert peak_bytes(layers[:2]) < masks + 8e6  # a copy alone would be 8 MB
    assert peak_bytes(layers) < 4 * masks + 1e6  # histograms are gone when the masks are made
    # all equal: every chunk is full of ties
    assert peak_bytes([np.zeros(2 * million, np.float32)]) < masks + 8e6
    # one array of float64 is converted by chunks too
    assert peak_bytes([rng.standard_normal(2 * million)]) < masks + 8e6


def test_the_search_for_the_threshold_holds_no_copy():
    """The masks would hide a copy of that size, so the search is measured alone: 8 M scores are 32 MB."""
    scores = [np.random.default_rng(0).standard_normal(8_000_000, dtype=np.float32)]
    tracemalloc.start()
    threshold._by_radix(scores, 4_000_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8e6


def test_the_small_route_keeps_the_bound():
    scores = [np.random.default_rng(0).standard_normal(threshold.SMALL, dtype=np.float32)]
    assert peak_bytes(scores) < threshold.SMALL + 8e6
