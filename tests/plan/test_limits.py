"""From budgets to absolute limits, and limits part of the way."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeprune.plan.limits import Limits, between, resolve
from edgeprune.target import Budget

pytestmark = pytest.mark.unit

BASELINE = {"latency_ms": 40.0, "size_bytes": 8_000_000.0, "ram_bytes": 2_000_000.0}


def test_kilobytes_are_1000_bytes():
    limits = resolve(Budget(latency_ms=12, size_kb=500, ram_kb=300.5), **BASELINE)
    assert limits == Limits(latency_ms=12, size_bytes=500_000, ram_bytes=300_500)


def test_ratios_are_of_the_baseline():
    limits = resolve(Budget(latency_ratio=0.25, size_ratio=0.5, ram_ratio=1.0), **BASELINE)
    assert limits == Limits(latency_ms=10.0, size_bytes=4_000_000.0, ram_bytes=2_000_000.0)


@pytest.mark.parametrize(("absolute", "ratio", "limit"), [(12, 0.25, 10.0), (8, 0.25, 8)])
def test_the_tighter_of_two_counts(absolute, ratio, limit):
    assert resolve(Budget(latency_ms=absolute, latency_ratio=ratio), **BASELINE) == Limits(latency_ms=limit)
    size = resolve(Budget(size_kb=absolute * 200, size_ratio=ratio), **BASELINE).size_bytes
    assert size == min(absolute * 200_000, ratio * BASELINE["size_bytes"])
    ram = resolve(Budget(ram_kb=absolute * 50, ram_ratio=ratio), **BASELINE).ram_bytes
    assert ram == min(absolute * 50_000, ratio * BASELINE["ram_bytes"])


def test_what_is_not_limited_stays_open():
    assert resolve(Budget(max_accuracy_drop=0.01), **BASELINE) == Limits()
    assert Limits(size_bytes=5.0).items() == [("size_bytes", 5.0)]
    assert [name for name, _ in Limits(1.0, 2.0, 3.0).items()] == ["latency_ms", "size_bytes", "ram_bytes"]


def test_half_of_the_way_is_the_geometric_mean():
    limits = between({**BASELINE}, Limits(latency_ms=10.0, size_bytes=2_000_000.0), 0.5)
    assert limits.latency_ms == pytest.approx(math.sqrt(40.0 * 10.0))
    assert limits.size_bytes == pytest.approx(4_000_000.0)
    assert limits.ram_bytes is None


def test_equal_steps_shrink_by_equal_factors():
    """40 -> 5 in three steps: by half each."""
    found = [between(BASELINE, Limits(latency_ms=5.0), n / 3).latency_ms for n in (1, 2, 3)]
    assert found == pytest.approx([20.0, 10.0, 5.0])


def test_a_limit_that_is_met_already_stays():
    assert between(BASELINE, Limits(latency_ms=50.0), 0.5).latency_ms == pytest.approx(50.0)


@given(start=st.floats(1e-3, 1e9), share=st.floats(1e-3, 1.0))
def test_the_last_step_is_the_limit_to_the_last_bit(start, share):
    limit = start * share
    assert between({"latency_ms": start}, Limits(latency_ms=limit), 1.0) == Limits(latency_ms=limit)
    assert between({"latency_ms": start}, Limits(latency_ms=limit), 0.0) == Limits(latency_ms=start)
