"""Which units go once the counts are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeprune.plan.select import units_to_remove

pytestmark = pytest.mark.unit


def test_the_least_important_go_from_each_group():
    groups = (np.array([3, 4, 5]), np.array([10, 11]))
    scores = (np.array([0.5, 0.1, 0.9]), np.array([7.0, 8.0]))
    assert sorted(units_to_remove(groups, scores, np.array([1, 1]))) == [3, 4, 10]


def test_ties_go_by_channel_order():
    scores = (np.array([1.0, 1.0, 0.0, 1.0, 1.0] * 20),)
    removed = units_to_remove((np.arange(100),), scores, np.array([78]))
    zeros, ones = list(range(2, 100, 5)), [0, 1]
    assert removed.tolist() == zeros + ones


def test_all_kept_removes_nothing():
    removed = units_to_remove((np.array([1, 2]),), (np.array([1.0, 2.0]),), np.array([2]))
    assert removed.tolist() == []
    assert removed.dtype == np.int64
    assert units_to_remove((), (), np.zeros(0, dtype=np.int64)).tolist() == []


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30), st.data())
def test_nothing_that_stays_is_less_important(own, data):
    kept = data.draw(st.integers(1, len(own)))
    units = np.arange(100, 100 + len(own))
    removed = set(units_to_remove((units,), (np.array(own, dtype=float),), np.array([kept])).tolist())
    assert len(removed) == len(own) - kept
    staying = [score for unit, score in zip(units, own, strict=True) if unit not in removed]
    assert all(own[unit - 100] <= min(staying) for unit in removed)
