"""Statistics of raw latency samples. Pure numpy; all times are in milliseconds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeprune.records.bench import LatencyStats, Ratio

MIN_SAMPLES_P90 = 10
MIN_SAMPLES_P99 = 100
# From so many rounds on, rounds are resampled instead of single invokes.
MIN_ROUNDS_CLUSTERED = 5


def latency_stats(model: str, samples_ms: Sequence[float]) -> LatencyStats:
    """Median, p90 (from 10 samples) and p99 (from 100) of one model's samples, by linear interpolation.

    Raises:
        ValueError: no samples.
    """
    values = np.asarray(samples_ms, dtype=np.float64)
    if not len(values):
        raise ValueError("no samples")
    return LatencyStats(
        model=model,
        samples_ms=tuple(float(value) for value in values),
        median_ms=float(np.median(values)),
        p90_ms=float(np.percentile(values, 90)) if len(values) >= MIN_SAMPLES_P90 else None,
        p99_ms=float(np.percentile(values, 99)) if len(values) >= MIN_SAMPLES_P99 else None,
    )


def ratio_of_medians(
    baseline_ms: Sequence[Sequence[float]],
    model_ms: Sequence[Sequence[float]],
    *,
    seed: int,
    confidence: float = 0.95,
    resamples: int = 4000,
) -> Ratio:
    """Baseline median / model median over all samples, with a percentile bootstrap interval.

    With 5 rounds or more, whole rounds are resampled, both models' together since they ran side by side: the
    speed of a machine wanders between rounds more than the samples inside one tell. Each round counts by its
    median. With fewer rounds single samples are resampled as if independent, which makes the interval too narrow
    on a machine whose speed wanders. The interval is widened to hold the value where it would not.

    Args:
        baseline_ms, model_ms: per round, samples in milliseconds; equal numbers of rounds, none empty.

    Raises:
        ValueError: rounds are missing, empty, or differ in number.
    """
    lengths = [len(samples) for samples in (*baseline_ms, *model_ms)]
    if not lengths or len(baseline_ms) != len(model_ms) or not all(lengths):
        raise ValueError("both models need the same number of rounds, at least one, and samples in each")
    baseline = [np.asarray(samples, dtype=np.float64) for samples in baseline_ms]
    model = [np.asarray(samples, dtype=np.float64) for samples in model_ms]
    generator = np.random.default_rng(seed)
    if len(baseline) >= MIN_ROUNDS_CLUSTERED:
        medians = np.array([[np.median(a), np.median(b)] for a, b in zip(baseline, model, strict=True)])
        drawn = np.median(medians[generator.integers(0, len(medians), (resamples, len(medians)))], axis=1)
        ratios = drawn[:, 0] / drawn[:, 1]
    else:
        ratios = _resampled_medians(np.concatenate(baseline), resamples, generator) / _resampled_medians(
            np.concatenate(model), resamples, generator
        )
    value = float(np.median(np.concatenate(baseline)) / np.median(np.concatenate(model)))
    low, high = np.quantile(ratios, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Ratio(value, min(float(low), value), max(float(high), value), confidence)


def drift(samples_ms: Sequence[float]) -> float:
    """Relative change of the median from the first half of the samples to the last; 0 for fewer than two.

    0.05 means that the second half was 5 % slower.
    """
    values = np.asarray(samples_ms, dtype=np.float64)
    half = len(values) // 2
    if not half:
        return 0.0
    return float(np.median(values[-half:]) / np.median(values[:half]) - 1)


def _resampled_medians(samples: np.ndarray, resamples: int, generator: np.random.Generator) -> np.ndarray:
    """Medians of bootstrap resamples of `samples`: (n,) -> (resamples,).

    Drawn by rank, not by resampling: the k-th smallest of n uniform variables is Beta(k, n + 1 - k) distributed
    and scales to an index, so the cost does not depend on n. For even n the two middle ranks are drawn jointly:
    given the lower one, u, the gap to the next is (1 - u) * Beta(1, n - k).
    """
    ordered = np.sort(samples)
    count = len(ordered)
    rank = (count + 1) // 2
    lower = generator.beta(rank, count + 1 - rank, resamples)
    picks = np.minimum((lower * count).astype(np.int64), count - 1)
    if count % 2:
        return np.asarray(ordered[picks])
    upper = lower + (1 - lower) * generator.beta(1, count - rank, resamples)
    return np.asarray((ordered[picks] + ordered[np.minimum((upper * count).astype(np.int64), count - 1)]) / 2)
