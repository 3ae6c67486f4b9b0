"""The slowest invokes against a limit: what a user of a device waits for at worst, not on average."""

from __future__ import annotations

from edgeprune.device.stats import MIN_SAMPLES_P99
from edgeprune.errors import BudgetError, InputError
from edgeprune.records.bench import BenchResult, LatencyStats


def jitter_line(stats: LatencyStats) -> str | None:
    """How far the slowest hundredth of invokes is from the middle; None where there are too few samples to tell."""
    if stats.p99_ms is None:
        return None
    return f"jitter: p99 is {stats.p99_ms / stats.median_ms:.2f} times the median"


def check_limit(limit_ms: float) -> None:
    """Refuse a limit that is no time.

    Raises:
        InputError: it is not above 0.
    """
    if not 0 < limit_ms < float("inf"):
        raise InputError(f"--p99-ms must be a time above 0 ms, received {limit_ms:g}")


def check_p99(result: BenchResult, limit_ms: float) -> str:
    """Compare the model's p99 with a limit in milliseconds; returns the sentence that says it is kept.

    Raises:
        BudgetError: p99 is above the limit.
        InputError: the samples can't tell.
    """
    stats = result.model
    if result.sample_kind != "invoke":
        raise InputError(f"{result.device} reports means of many invokes, which have no p99; leave --p99-ms out")
    if stats.p99_ms is None:
        raise InputError(
            f"p99 takes {MIN_SAMPLES_P99} samples, {len(stats.samples_ms)} were measured on {result.device}; give more "
            "--rounds, or leave --quick out"
        )
    if stats.p99_ms > limit_ms:
        raise BudgetError(
            f"p99 on {result.device} is {stats.p99_ms:.4g} ms, limit {limit_ms:.4g} ms", {"p99_ms": stats.p99_ms}
        )
    return f"p99 {stats.p99_ms:.4g} ms keeps the limit of {limit_ms:.4g} ms"
