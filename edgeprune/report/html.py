"""One self-contained HTML page: no network, no external font or script, light and dark."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from edgeprune.records.bench import BenchResult
from edgeprune.records.masks import MaskPicture
from edgeprune.records.report import BuildReport, LayerRow, Metric
from edgeprune.report import format as fmt
from edgeprune.report.charts.budget_bars import budget_bars
from edgeprune.report.charts.latency_histogram import Histogram, latency_histogram
from edgeprune.report.charts.masks import drawn
from edgeprune.report.charts.pareto import pareto_chart
from edgeprune.report.charts.rounds import rounds_chart
from edgeprune.report.comparison import Comparison, compare, group_frozen, metric_bound
from edgeprune.report.verdict import bench_phrase, headline, misses

_TEMPLATES = Path(__file__).parent / "templates"
# Control characters are errors in HTML, and lone surrogates (odd file names) can't be written as UTF-8.
_UNFIT = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\ud800-\\udfff]")
_CHARTED = ("latency_ms", "size_kb", "ram_kb", "accuracy_drop")


def render_html(report: BuildReport, pictures: Sequence[MaskPicture] = ()) -> str:
    """The whole page as text. Everything from the report is escaped. pictures: of the masks of sparse kernels.

    A Content-Security-Policy allows the page's own style and script by their hashes and nothing else, so
    that a name in a model can neither run nor load anything even if escaping failed.
    """
    style, script = (Markup((_TEMPLATES / name).read_text(encoding="utf-8")) for name in ("report.css", "report.js"))
    rows = compare(report.baseline, report.result, report.limits)
    template = _environment().get_template("report.html.j2")
    page = template.render(
        report=report,
        style=style,
        script=script,
        style_hash=_source_hash(style),
        script_hash=_source_hash(script),
        title=f"edgeprune: {report.target}",
        # A line must not end between a number and its unit.
        headline=headline(report, arrow="\N{RIGHTWARDS ARROW}").replace(" %", "\N{NO-BREAK SPACE}%"),
        misses=misses(report),
        rows=rows,
        bars=[(row, budget_bars(row, is_floor(row, report))) for row in rows if row.key in _CHARTED],
        is_floor=lambda row: is_floor(row, report),
        layers=report.layers,
        totals=_totals(report),
        sparse=any(row.sparsity_before or row.sparsity_after for row in report.layers),
        masks=drawn(pictures),
        mask_count=len(pictures),
        histogram=_histogram(report.bench),
        bench_text=bench_phrase(report.bench, arrow="\N{RIGHTWARDS ARROW}") if report.bench else "",
        rounds_svg=_rounds(report),
        pareto_svg=_pareto(report),
        frozen_groups=group_frozen(report.frozen),
        budget=[(name, value) for name, value in report.budget.items() if value is not None],
        fmt=fmt,
    )
    return _UNFIT.sub("?", page)


def is_floor(row: Comparison, report: BuildReport) -> bool:
    """Whether a row's limit is a lowest allowed value: only for a metric that is better when higher."""
    metric = report.result.metric or report.baseline.metric
    return row.key == "accuracy_drop" and metric is not None and metric.higher_is_better


def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _source_hash(source: str) -> str:
    """The source expression that lets one inline block through a Content-Security-Policy."""
    digest = hashlib.sha256(source.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def _totals(report: BuildReport) -> LayerRow:
    """The sum over all layers, in the form of a row."""
    layers = report.layers
    return LayerRow(
        layer="All layers",
        kind="",
        channels_before=sum(row.channels_before for row in layers),
        channels_after=sum(row.channels_after for row in layers),
        macs_before=sum(row.macs_before for row in layers),
        macs_after=sum(row.macs_after for row in layers),
        params_before=sum(row.params_before for row in layers),
        params_after=sum(row.params_after for row in layers),
        latency_ms_before=sum(row.latency_ms_before for row in layers),
        latency_ms_after=sum(row.latency_ms_after for row in layers),
        sparsity_before=report.baseline.sparsity,
        sparsity_after=report.result.sparsity,
    )


def _histogram(bench: BenchResult | None) -> Histogram | None:
    """The drawing of the samples; None without a benchmark or where a device reports no single samples."""
    if bench is None or not all(stats.samples_ms for stats in (bench.model, bench.baseline) if stats):
        return None
    return latency_histogram(bench)


def _rounds(report: BuildReport) -> Markup | None:
    """The chart of the rounds; None when there were none, or no baseline metric to compare with."""
    metric: Metric | None = report.baseline.metric
    if not report.rounds or metric is None:
        return None
    return rounds_chart(report.rounds, metric, _metric_limit(report, metric))


def _pareto(report: BuildReport) -> Markup | None:
    """The chart of the strategies; None where only one was looked at."""
    metric: Metric | None = report.baseline.metric
    if not report.strategy_trials or metric is None:
        return None
    latency = next((row.limit for row in report.limits if row.name == "latency_ms"), None)
    method = report.result.latency_ms.method
    return pareto_chart(report.strategy_trials, metric, latency, _metric_limit(report, metric), method)


def _metric_limit(report: BuildReport, baseline: Metric) -> float | None:
    """The worst metric that the budget allows; None without a limit."""
    limit = next((row.limit for row in report.limits if row.name == "accuracy_drop"), None)
    return None if limit is None else metric_bound(baseline, limit)
