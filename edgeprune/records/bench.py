"""What a benchmark measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SampleKind = Literal["invoke", "process mean"]


@dataclass(frozen=True)
class LatencyStats:
    """Statistics of one model's raw per-invoke samples, all in milliseconds.

    `p99_ms` is None when there are fewer than 100 samples, `p90_ms` when fewer than 10. `peak_rss_kb`: the memory that
    loading and running it once took at most, on top of Python with the runtime; None where the device can't tell.
    """

    model: str
    samples_ms: tuple[float, ...]
    median_ms: float
    p90_ms: float | None
    p99_ms: float | None
    peak_rss_kb: int | None = None


@dataclass(frozen=True)
class Ratio:
    """A ratio with its bootstrap confidence interval."""

    value: float
    low: float
    high: float
    confidence: float


@dataclass(frozen=True)
class BenchResult:
    """One benchmark on one device; with a baseline the two ran interleaved in one call.

    `speedup` is baseline median / model median: above 1 the model is faster.
    `warnings` says why the numbers may not be trusted; empty means nothing suspicious was seen. `notes` say how the
    device measured. `sample_kind` is what one sample is.
    """

    device: str
    runtime: str
    threads: int
    rounds: int
    model: LatencyStats
    baseline: LatencyStats | None
    speedup: Ratio | None
    warnings: tuple[str, ...]
    notes: tuple[str, ...] = ()
    sample_kind: SampleKind = "invoke"
