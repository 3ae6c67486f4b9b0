"""Uniform allocation: the same share of every group, in whole multiples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeprune.plan.limits import Limits
from edgeprune.plan.uniform import uniform, uniform_to_limits

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("units", "ratio", "multiple", "kept"),
    [
        ([10, 20], 0.3, 1, [7, 14]),
        ([5, 3, 1], 0.5, 1, [3, 2, 1]),  # 2.5, 1.5 and 0.5: of two as near the larger, in every group alike
        ([64, 20, 4], 0.5, 8, [32, 8, 4]),  # 20 -> 10, nearer to 8 than to 16; 4 has no smaller multiple
        ([20], 0.05, 8, [20]),  # 19 is nearer to all 20 than to 16
        ([20], 0.15, 8, [16]),
        ([64, 3], 0.99, 8, [8, 3]),
        ([64, 3], 0.99, 1, [1, 1]),  # never none
    ],
)
def test_kept_counts_by_hand(units, ratio, multiple, kept):
    found = uniform(np.array(units), ratio, multiple)
    assert found.tolist() == kept
    assert found.dtype == np.int64


@given(units=st.lists(st.integers(1, 300), min_size=1, max_size=5), multiple=st.integers(1, 16))
def test_ratio_0_removes_nothing(units, multiple):
    assert uniform(np.array(units), 0.0, multiple).tolist() == units


@given(
    units=st.lists(st.integers(1, 300), min_size=1, max_size=5),
    ratio=st.floats(0, 0.999),
    more=st.floats(0, 0.5),
    multiple=st.integers(1, 16),
)
def test_counts_are_multiples_near_the_share(units, ratio, more, multiple):
    all_units = np.array(units)
    kept = uniform(all_units, ratio, multiple)
    assert all(count == own or count % multiple == 0 for count, own in zip(kept, units, strict=True))
    assert (kept >= np.minimum(multiple, all_units)).all()
    assert (kept <= all_units).all()
    near = np.abs(kept - all_units * (1 - ratio)) <= multiple / 2 + 1e-9
    assert (near | (kept == np.minimum(multiple, all_units))).all()
    assert (uniform(all_units, min(ratio + more, 1.0), multiple) <= kept).all()


def test_the_smallest_ratio_that_meets_the_limits():
    """One group of 40 at 1 ms each: 31 ms are met by 31 units, 8-multiples by 24."""
    scores, costs = (np.ones(40),), {"latency_ms": lambda kept: kept.sum(axis=0)}
    assert uniform_to_limits(scores, costs, Limits(latency_ms=31.0), 1).kept.tolist() == [31]
    found = uniform_to_limits(scores, costs, Limits(latency_ms=31.0), 8)
    assert (found.kept.tolist(), found.costs, found.missed) == ([24], {"latency_ms": 24.0}, ())


def test_limits_that_are_met_already_cost_nothing():
    found = uniform_to_limits((np.ones(20),), {"latency_ms": lambda kept: kept.sum(axis=0)}, Limits(latency_ms=20.0), 8)
    assert found.kept.tolist() == [20]


def test_a_limit_out_of_reach_is_named():
    costs = {"latency_ms": lambda kept: kept.sum(axis=0), "size_bytes": lambda kept: kept.sum(axis=0)}
    found = uniform_to_limits((np.ones(20),), costs, Limits(latency_ms=7.0, size_bytes=8.0), 8)
    assert (found.kept.tolist(), found.missed) == ([8], ("latency_ms",))
