"""Allocation from a sensitivity map, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeprune.plan.limits import Limits
from edgeprune.plan.sensitivity import SensitivityMap, by_sensitivity, probe_counts

pytestmark = pytest.mark.unit

COUNTS = (np.array([16, 8]), np.array([24, 16, 8]))
COSTS = {"latency_ms": lambda kept: kept.sum(axis=0) * 1.0}


def allocate(harm: tuple[list[float], list[float]], limit: float):
    found = SensitivityMap(COUNTS, tuple(np.array(own) for own in harm))
    return by_sensitivity(found, COSTS, Limits(latency_ms=limit))


def test_the_group_that_bears_it_gives_first():
    """40 units, 32 allowed: group 1 gives 8 at harm 0.1; group 0 would have cost 0.5."""
    found = allocate(([0.0, 0.5], [0.0, 0.1, 0.9]), 32.0)
    assert found.kept.tolist() == [16, 16]
    assert found.missed == ()


def test_one_threshold_serves_all_groups():
    """24 allowed: threshold 0.5 admits 8 units of group 0 and 16 of group 1."""
    assert allocate(([0.0, 0.5], [0.0, 0.1, 0.9]), 24.0).kept.tolist() == [8, 16]


def test_harm_is_made_monotone():
    """A lucky probe (8 units better than 16) does not make the smaller width look free: both count 0.3."""
    found = allocate(([0.0, 0.2], [0.0, 0.3, 0.0]), 32.0)
    assert found.kept.tolist() == [8, 24]


def test_harmless_widths_still_stay_while_nothing_asks_for_them():
    assert allocate(([0.0, 0.0], [0.0, 0.0, 0.0]), 40.0).kept.tolist() == [16, 24]


def test_out_of_reach_is_named():
    found = allocate(([0.0, 0.5], [0.0, 0.1, 0.9]), 15.0)
    assert found.kept.tolist() == [8, 8]
    assert found.missed == ("latency_ms",)


@given(units=st.integers(1, 600), multiple=st.sampled_from([1, 4, 8, 16]), points=st.integers(1, 9))
def test_probe_counts_are_allowed_widths_from_all_to_smallest(units, multiple, points):
    counts = probe_counts(units, multiple, points)
    assert counts[0] == units
    assert counts[-1] == min(units, multiple)
    assert (np.diff(counts) < 0).all()
    assert all(count % multiple == 0 for count in counts[1:])
    assert len(counts) <= points + 1
