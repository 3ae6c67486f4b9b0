"""The sentences of a report: what was gained, whether the budget is met, and by how much it is missed."""

from __future__ import annotations

from edgeprune.records.bench import BenchResult, Ratio
from edgeprune.records.report import BuildReport, LimitRow, ModelRecord
from edgeprune.report import format as fmt
from edgeprune.report.comparison import comparable_latency

# Below half a per cent a difference of latency is not worth a word.
_SAME_SPEED = 0.005


def verdict(report: BuildReport) -> str:
    """One sentence: budget met, missed (and where), or not set."""
    missed = misses(report)
    if missed:
        return "Budget missed: " + "; ".join(missed) + "."
    if not report.limits:
        return "No budget was set."
    return f"Budget met: {met_limits_text(len(report.limits))}."


def met_limits_text(count: int) -> str:
    """'its only limit is kept', 'all 4 limits are kept'."""
    return "its only limit is kept" if count == 1 else f"all {count} limits are kept"


def misses(report: BuildReport) -> tuple[str, ...]:
    """One phrase per missed limit, naming the value, the limit and the distance."""
    return tuple(_miss(row, report) for row in report.limits if not row.met)


def _miss(row: LimitRow, report: BuildReport) -> str:
    if row.name == "accuracy_drop":
        return _drop_miss(row, report)
    if row.name == "latency_ms":
        subject = f"{report.result.latency_ms.method} latency"
        reached, over, limit = (fmt.latency_text(value) for value in (row.result, row.result - row.limit, row.limit))
    else:
        subject = {"size_kb": "file size", "ram_kb": "peak RAM"}[row.name]
        reached, over, limit = (
            fmt.size_text(value * 1000) for value in (row.result, row.result - row.limit, row.limit)
        )
    share = f" ({fmt.significant((row.result / row.limit - 1) * 100, 2)} %)" if row.limit > 0 else ""
    return f"{subject} {reached} is {over}{share} over the limit of {limit}"


def _drop_miss(row: LimitRow, report: BuildReport) -> str:
    metric, before = report.result.metric, report.baseline.metric
    name = metric.name if metric else "accuracy"
    values = [record.value for record in (metric, before) if record]
    if metric and not metric.higher_is_better:
        unit, scale = " %", 100.0
    elif fmt.is_share(name, *values):
        unit, scale = " points", 100.0
    else:
        unit, scale = "", 1.0
    drop, allowed = (fmt.significant(round(value * scale, 6), 2) for value in (row.result, row.limit))
    return f"{name} is {drop}{unit} worse, more than the {allowed}{unit} allowed"


def speed_phrase(baseline: ModelRecord, result: ModelRecord) -> str | None:
    """'2.9x faster, predicted for rpi4'; None when the two latencies can't be compared."""
    before, after = baseline.latency_ms.value, result.latency_ms.value
    if not comparable_latency(baseline, result) or before <= 0 or after <= 0:
        return None
    latency = result.latency_ms
    known = "predicted for" if latency.method == "predicted" else "measured on"
    return f"{_times(before / after)}, {known} {latency.device}"


def _times(speedup: float) -> str:
    if abs(speedup - 1) < _SAME_SPEED:
        return "as fast as before"
    return f"{fmt.significant(speedup, 2)}x faster" if speedup > 1 else f"{fmt.significant(1 / speedup, 2)}x slower"


def headline(report: BuildReport, arrow: str = "->") -> str:
    """The gain in one line: speed, size and metric."""
    baseline, result = report.baseline, report.result
    parts = [f"{fmt.ratio_text(result.size_bytes, baseline.size_bytes)} file size"]
    speed = speed_phrase(baseline, result)
    if speed:
        parts.insert(0, speed)
    if baseline.metric and result.metric:
        parts.append(
            f"{result.metric.name} {fmt.metric_text(baseline.metric)} {arrow} {fmt.metric_text(result.metric)}"
        )
    return ", ".join(parts)


def bench_phrase(bench: BenchResult, arrow: str = "->") -> str:
    """What the benchmark measured, with the interval; it never turns noise into a gain."""
    where = f"measured on {bench.device}, {fmt.threads_text(bench.threads)}"
    median = fmt.latency_text(bench.model.median_ms)
    if bench.baseline is None or bench.speedup is None:
        return f"median {median}, {where}"
    before = fmt.latency_text(bench.baseline.median_ms)
    return f"{speedup_phrase(bench.speedup)}, median {before} {arrow} {median}, {where}"


def speedup_phrase(speedup: Ratio) -> str:
    """'1.82x faster (95 % interval 1.79 to 1.85)'; says so when the interval holds 1."""
    interval = f"{speedup.confidence * 100:g} % interval {speedup.low:.2f} to {speedup.high:.2f}"
    if speedup.low <= 1 <= speedup.high:
        return f"no difference shown: speed ratio {speedup.value:.2f} ({interval})"
    if speedup.value > 1:
        return f"{speedup.value:.2f}x faster ({interval})"
    return f"slower: {speedup.value:.2f}x the baseline's speed ({interval})"
