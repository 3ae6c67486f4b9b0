"""Statistics against values worked out by hand, brute force, and simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeprune.device.stats import drift, latency_stats, ratio_of_medians

pytestmark = pytest.mark.unit


def test_percentiles_by_hand():
    # 1..11: the median is the 6th; p90 lies at index 0.9 * 10 = 9, the 10th value.
    stats = latency_stats("m", list(range(11, 0, -1)))
    assert (stats.median_ms, stats.p90_ms, stats.p99_ms) == (6.0, 10.0, None)
    assert stats.samples_ms == tuple(float(value) for value in range(11, 0, -1))
    # 0..100: p99 lies at index 0.99 * 100 = 99.
    assert latency_stats("m", list(range(101))).p99_ms == 99.0


@pytest.mark.parametrize(
    ("count", "p90", "p99"), [(9, False, False), (10, True, False), (99, True, False), (100, True, True)]
)
def test_percentiles_need_enough_samples(count, p90, p99):
    stats = latency_stats("m", [1.0] * count)
    assert (stats.p90_ms is not None, stats.p99_ms is not None) == (p90, p99)


def test_no_samples_are_refused():
    with pytest.raises(ValueError, match="no samples"):
        latency_stats("m", [])


def test_drift_by_hand():
    assert drift([10, 10, 10, 11, 11, 11]) == pytest.approx(0.1)
    # The middle sample of an odd count belongs to neither half.
    assert drift([10, 10, 99, 5, 5]) == pytest.approx(-0.5)
    assert drift([3]) == 0.0


def test_constant_rounds_give_an_exact_ratio():
    ratio = ratio_of_medians([[2.0] * 4] * 5, [[1.0] * 4] * 5, seed=0)
    assert (ratio.value, ratio.low, ratio.high, ratio.confidence) == (2.0, 2.0, 2.0, 0.95)


def test_rounds_are_resampled_together():
    """The machine halves its speed from round to round, for both models alike: the ratio does not change at all,
    which resampling the two sides apart would never find."""
    speeds = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0]
    ratio = ratio_of_medians([[3 * speed] * 9 for speed in speeds], [[speed] * 9 for speed in speeds], seed=1)
    assert (ratio.low, ratio.high) == (3.0, 3.0)


def test_five_rounds_span_the_extremes():
    """P(median of 5 draws from 5 rounds is the smallest) = P(Bin(5, 1/5) >= 3) = 0.058 > 0.025, so the 95 % interval
    reaches from the smallest to the largest round ratio."""
    baseline = [[value] for value in (10.0, 11.0, 12.0, 13.0, 14.0)]
    ratio = ratio_of_medians(baseline, [[1.0]] * 5, seed=3)
    assert (ratio.low, ratio.value, ratio.high) == (10.0, 12.0, 14.0)


def test_the_same_seed_gives_the_same_interval():
    generator = np.random.default_rng(0)
    a, b = generator.normal(10, 1, (2, 30)), generator.normal(9, 1, (2, 30))
    assert ratio_of_medians(a, b, seed=7) == ratio_of_medians(a, b, seed=7)
    assert ratio_of_medians(a, b, seed=7) != ratio_of_medians(a, b, seed=8)


@pytest.mark.parametrize("count", [20, 21])
def test_medians_drawn_by_rank_match_brute_force(count):
    """With few rounds single samples are resampled; brute force draws them one by one."""
    generator = np.random.default_rng(5)
    baseline, model = generator.lognormal(1, 0.5, count), generator.lognormal(0.5, 0.5, count)
    ratio = ratio_of_medians([baseline], [model], seed=2, resamples=40_000)
    drawn_baseline = np.median(generator.choice(baseline, (40_000, count)), axis=1)
    drawn_model = np.median(generator.choice(model, (40_000, count)), axis=1)
    low, high = np.quantile(drawn_baseline / drawn_model, [0.025, 0.975])
    assert ratio.low == pytest.approx(low, rel=0.02)
    assert ratio.high == pytest.approx(high, rel=0.02)


def coverage(rounds: int, per_round: int, wander: float, trials: int = 300) -> float:
    """Share of simulated measurements whose interval holds the true ratio, 1.5. Times are lognormal around their
    median; `wander` is the spread of the machine's speed from round to round, separate for each model."""
    generator = np.random.default_rng(11)
    held = 0
    for trial in range(trials):
        pace = np.exp(generator.normal(0, wander, (2, rounds, 1)))
        samples = pace * np.exp(generator.normal(0, 0.1, (2, rounds, per_round)))
        ratio = ratio_of_medians(1.5 * samples[0], samples[1], seed=trial, resamples=500)
        held += ratio.low <= 1.5 <= ratio.high
    return held / trials


def test_the_interval_holds_the_true_ratio_as_often_as_it_says():
    # 0.95 +- 3 standard errors of 300 trials is 0.91 .. 0.99; a percentile interval of few rounds runs a little off.
    assert 0.91 <= coverage(rounds=3, per_round=60, wander=0.0) <= 0.99
    assert 0.91 <= coverage(rounds=20, per_round=20, wander=0.05) <= 0.99
    # The extremes of 5 rounds hold the true median with 1 - 2 * 0.5**5 = 0.9375.
    assert 0.90 <= coverage(rounds=5, per_round=20, wander=0.05) <= 0.98


def test_resampling_single_samples_would_deceive_on_a_wandering_machine():
    """Why rounds count, not samples: with the same wander, 4 rounds (below the limit) miss far more often."""
    assert coverage(rounds=4, per_round=60, wander=0.05) < 0.8


@given(
    st.lists(st.lists(st.floats(0.01, 100), min_size=1, max_size=6), min_size=1, max_size=8),
    st.data(),
)
def test_the_interval_always_holds_the_value(baseline, data):
    model = [data.draw(st.lists(st.floats(0.01, 100), min_size=1, max_size=6)) for _ in baseline]
    ratio = ratio_of_medians(baseline, model, seed=0, resamples=200)
    assert 0 < ratio.low <= ratio.value <= ratio.high
    expected = np.median(np.concatenate(baseline)) / np.median(np.concatenate(model))
    assert ratio.value == pytest.approx(expected)


@pytest.mark.parametrize(("baseline", "model"), [([], []), ([[1.0]], [[1.0], [1.0]]), ([[1.0]], [[]])])
def test_missing_rounds_are_refused(baseline, model):
    with pytest.raises(ValueError, match="same number of rounds"):
        ratio_of_medians(baseline, model, seed=0)
