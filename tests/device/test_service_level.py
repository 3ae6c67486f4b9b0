"""The slowest hundredth of the invokes against a limit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgeprune.device.service_level import check_limit, check_p99, jitter_line
from edgeprune.device.stats import latency_stats
from edgeprune.errors import BudgetError, InputError
from edgeprune.records.bench import BenchResult

pytestmark = pytest.mark.unit

# 2 ms with every 50th invoke taking 6 ms: the median is 2, and p99 lies among the slow ones
SAMPLES = [6.0 if number % 50 == 0 else 2.0 for number in range(400)]
RESULT = BenchResult("local", "litert", 1, 5, latency_stats("m", SAMPLES), None, None, ())


def test_a_limit_between_median_and_p99_is_missed():
    with pytest.raises(BudgetError, match="p99 on local is 6 ms, limit 3 ms") as caught:
        check_p99(RESULT, 3.0)
    assert caught.value.closest == {"p99_ms": 6.0}


def test_a_limit_above_p99_is_kept():
    assert check_p99(RESULT, 6.5) == "p99 6 ms keeps the limit of 6.5 ms"
    assert jitter_line(RESULT.model) == "jitter: p99 is 3.00 times the median"


def test_what_has_no_p99_is_no_pass():
    few = replace(RESULT, model=latency_stats("m", SAMPLES[:99]))
    with pytest.raises(InputError, match="p99 takes 100 samples, 99 were measured"):
        check_p99(few, 100.0)
    assert jitter_line(few.model) is None
    with pytest.raises(InputError, match="means of many invokes"):
        check_p99(replace(RESULT, sample_kind="process mean"), 100.0)


@pytest.mark.parametrize("limit", [0.0, -1.0, float("nan"), float("inf")])
def test_a_limit_is_a_time(limit):
    with pytest.raises(InputError, match="p99-ms must be a time above 0"):
        check_limit(limit)
