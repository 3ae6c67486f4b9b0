"""Reports on a terminal: 80 columns are enough, and nothing but text when piped. Own words are ASCII."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from edgeprune.records.report import BuildReport, FrozenRow, LayerRow, LimitRow, ModelRecord, StrategyTrial
from edgeprune.report import format as fmt
from edgeprune.report.comparison import Comparison, compare, group_frozen
from edgeprune.report.verdict import bench_phrase, headline, verdict

# Layer names shown per reason before "and N more".
_NAMES_PER_REASON = 6
# From this width on the kind and the parameters of each layer fit too.
_WIDE = 112


def render(report: BuildReport, console: Console) -> None:
    """Print a finished build: the table, the verdict, the benchmark, quantization and notes."""
    _line(console, "", f"{report.target}: {headline(report)}", "bold")
    render_models(report.baseline, report.result, report.limits, console)
    _line(console, "", verdict(report), "bold green" if report.met else "bold red")
    if report.bench is None:
        _line(console, "benchmark: ", "none was run")
    else:
        _line(console, "benchmark: ", bench_phrase(report.bench))
        for warning in report.bench.warnings:
            _line(console, "  warning: ", warning, "yellow")
    parity = report.parity
    errors = (
        f"largest error {fmt.significant(parity.max_error, 2)} of the largest Keras output, "
        f"{fmt.significant(parity.tolerance, 2)} allowed ({fmt.plural(parity.samples, 'sample')})"
    )
    _line(console, "parity: " if parity.passed else "parity FAILED: ", errors, "" if parity.passed else "bold red")
    for row in report.strategy_trials:
        _line(console, "strategy: " if row.chosen else "  not chosen: ", _strategy(row), "" if row.chosen else "dim")
    for trial in sorted(report.quantize_trials, key=lambda trial: not trial.chosen):
        prefix = "quantization: " if trial.chosen else "  not chosen: "
        _line(console, prefix, f"{trial.quantize}, {trial.reason}", "" if trial.chosen else "dim")
    for choice in report.allocation_trials:
        prefix = "allocation: " if choice.chosen else "  not chosen: "
        shown = "" if choice.metric is None else f" {fmt.metric_text(choice.metric)},"
        _line(console, prefix, f"{choice.allocation},{shown} {choice.reason}", "" if choice.chosen else "dim")
    for note in report.notes:
        _line(console, "note: ", note)


def render_models(
    baseline: ModelRecord, result: ModelRecord, limits: Iterable[LimitRow], console: Console, after: str = "after"
) -> None:
    """Print before / after / limit / ratio; `after` heads the second column ("planned" for a plan)."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("", overflow="fold")
    for heading in ("before", after, "limit", "ratio"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    rows = compare(baseline, result, limits)
    for row in rows:
        method = f", {result.latency_ms.method}" if row.key == "latency_ms" else ""
        table.add_row(
            Text(fmt.printable(row.label) + method),
            Text(row.before.text if row.before else fmt.UNKNOWN),
            Text(row.after.text if row.after else fmt.UNKNOWN, style="bold"),
            Text(_limit(row, result)),
            Text(row.ratio),
            _mark(row.met),
        )
    console.print(Padding(table, (1, 0, 1, 0), expand=False))
    _line(console, "latency: ", rows[0].hint)
    if result.sparsity:
        shares = " -> ".join(fmt.percent_text(record.sparsity) for record in (baseline, result))
        _line(console, "zeros: ", f"{shares} of the kernel weights")


def render_plan(layers: Sequence[LayerRow], frozen: Sequence[FrozenRow], console: Console) -> None:
    """Print the per-layer table with totals, then the layers that are not pruned, grouped by reason.

    A cell reads "before -> after", or one value where nothing changes.
    """
    wide = console.width >= _WIDE
    columns: list[tuple[str, Text | str, Callable[[LayerRow], Text]]] = [
        ("channels", "", lambda row: _step(row.channels_before, row.channels_after, str)),
        (
            "MACs",
            _step(sum(row.macs_before for row in layers), sum(row.macs_after for row in layers), fmt.count_text),
            lambda row: _step(row.macs_before, row.macs_after, fmt.count_text),
        ),
        (
            "params",
            _step(sum(row.params_before for row in layers), sum(row.params_after for row in layers), fmt.count_text),
            lambda row: _step(row.params_before, row.params_after, fmt.count_text),
        ),
        (
            "ms, predicted",
            _step(
                sum(row.latency_ms_before for row in layers),
                sum(row.latency_ms_after for row in layers),
                fmt.significant,
            ),
            lambda row: _step(row.latency_ms_before, row.latency_ms_after, fmt.significant),
        ),
    ]
    if any(row.sparsity_before or row.sparsity_after for row in layers):
        columns.append(("zeros", "", lambda row: _step(row.sparsity_before, row.sparsity_after, fmt.percent_text)))
    if not wide:
        columns = [column for column in columns if column[0] != "params"]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, show_footer=bool(layers))
    table.add_column("layer", "all layers", overflow="fold")
    if wide:
        table.add_column("kind", overflow="fold")
    for heading, footer, _ in columns:
        table.add_column(heading, footer, justify="right", no_wrap=True)
    for layer in layers:
        names = [Text(fmt.printable(layer.layer))] + ([Text(fmt.printable(layer.kind))] if wide else [])
        table.add_row(*names, *(cell(layer) for _, _, cell in columns))
    console.print(table)
    if frozen:
        _render_frozen(frozen, console)


def _render_frozen(frozen: Sequence[FrozenRow], console: Console) -> None:
    console.print()
    _line(console, "", f"Not pruned: {fmt.plural(len(frozen), 'layer')}", "bold")
    for reason, rows in group_frozen(frozen):
        names = ", ".join(row.layer for row in rows[:_NAMES_PER_REASON])
        more = f" and {len(rows) - _NAMES_PER_REASON} more" if len(rows) > _NAMES_PER_REASON else ""
        _line(console, f"{len(rows):>5}  ", f"{reason}: {names}{more}")


def _strategy(row: StrategyTrial) -> str:
    """Name, mode and what is known of it, then the reason."""
    facts = [f"{row.strategy} in {row.quantize}"]
    if row.metric is not None:
        facts.append(fmt.metric_text(row.metric))
    if row.latency_ms is not None:
        facts.append(fmt.latency_text(row.latency_ms))
    if row.size_bytes is not None:
        facts.append(fmt.size_text(row.size_bytes))
    return f"{', '.join(facts)}: {row.reason}"


def _step(before: float, after: float, text: Callable[[float], str]) -> Text:
    """ "before -> after", or one dim value where nothing changed."""
    if before == after:
        return Text(text(before), style="dim")
    return Text(f"{text(before)} -> {text(after)}")


def _limit(row: Comparison, result: ModelRecord) -> str:
    if row.bound is None:
        return ""
    floor = row.key == "accuracy_drop" and result.metric is not None and result.metric.higher_is_better
    return f"{'>=' if floor else '<='} {row.bound.text}"


def _mark(met: bool | None) -> Text:
    if met is None:
        return Text("")
    return Text("ok", style="green") if met else Text("missed", style="bold red")


def _line(console: Console, prefix: str, text: str, style: str = "") -> None:
    """Print one paragraph behind `prefix`; user text is never read as markup.

    A terminal gets it wrapped with a hanging indent, a pipe gets one line that can be searched.
    """
    body = Text(fmt.printable(text), style=style)
    if not console.is_terminal:
        console.print(Text.assemble(prefix, body), soft_wrap=True)
        return
    for number, line in enumerate(body.wrap(console, max(console.width - len(prefix), 20), overflow="fold")):
        line.rstrip()
        console.print(Text.assemble((prefix if number == 0 else " " * len(prefix), "dim"), line), soft_wrap=True)
