"""The distribution of a benchmark's raw samples."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from edgeprune.records.bench import BenchResult, LatencyStats
from edgeprune.report import format as fmt
from edgeprune.report.charts.axis import Axis, axis_over, frame
from edgeprune.report.charts.svg import anchor, element, percent, picture

_BINS = 60
# Rare stalls of the system would squeeze everything else into one bin.
_DRAWN_SHARE = 0.95


@dataclass(frozen=True)
class Histogram:
    """The drawing, and how many samples lie to the right of it."""

    svg: Markup
    beyond: int


def latency_histogram(bench: BenchResult) -> Histogram:
    """Share of samples per bin for the baseline ("before") and the model ("after"), medians marked."""
    series = (
        [("after", bench.model)] if bench.baseline is None else [("before", bench.baseline), ("after", bench.model)]
    )
    last = max(max(_quantile(stats, _DRAWN_SHARE), stats.median_ms) for _, stats in series)
    first = min(min(stats.samples_ms) for _, stats in series)
    x = axis_over((first, last), count=6)
    shares = {name: _shares(stats, x) for name, stats in series}
    y = axis_over((0.0, *(value for bins in shares.values() for value in bins)), count=4, scale=100)
    parts = [frame(x, y, "milliseconds per inference", "% of samples", title_rise=48)]
    parts.extend(_bars(name, shares[name], x, y) for name, _ in series)
    for line, (name, stats) in enumerate(series):
        parts.append(_median(name, stats, x, line))
    label = "Latency distribution: " + ", ".join(
        f"{name} median {fmt.latency_text(stats.median_ms)}" for name, stats in series
    )
    beyond = sum(sample > x.high for _, stats in series for sample in stats.samples_ms)
    return Histogram(picture(label, "plot histogram", *parts), beyond)


def _quantile(stats: LatencyStats, share: float) -> float:
    ordered = sorted(stats.samples_ms)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def _shares(stats: LatencyStats, x: Axis) -> list[float]:
    counts = [0] * _BINS
    for sample in stats.samples_ms:
        place = x.at(sample)
        if place <= 1:
            counts[min(int(place * _BINS), _BINS - 1)] += 1
    return [count / len(stats.samples_ms) for count in counts]


def _bars(name: str, shares: list[float], x: Axis, y: Axis) -> Markup:
    width = (x.high - x.low) / _BINS
    return Markup("").join(
        element(
            "rect",
            element(
                "title",
                f"{name}: {fmt.percent_text(share)} of samples within {fmt.significant(x.low + index * width)} "
                f"to {fmt.latency_text(x.low + (index + 1) * width)}",
            ),
            x=percent(index / _BINS),
            width=percent(1 / _BINS),
            y=percent(1 - y.at(share)),
            height=percent(y.at(share)),
            class_=f"bin {name}",
        )
        for index, share in enumerate(shares)
        if share
    )


def _median(name: str, stats: LatencyStats, x: Axis, line: int) -> Markup:
    """The median's line rises above the plot to its own row of text, so that two labels never meet."""
    share = x.at(stats.median_ms)
    place, top = percent(share), -10 - 18 * (1 - line)
    side = anchor(share)
    return element("line", x1=place, x2=place, y1=top + 4, y2="100%", class_=f"median {name}") + element(
        "text",
        f"{name}, median {fmt.latency_text(stats.median_ms)}",
        x=place,
        dx={"start": "5", "middle": "0", "end": "-5"}[side],
        y=top,
        text_anchor=side,
        class_=f"median-label {name}",
    )
