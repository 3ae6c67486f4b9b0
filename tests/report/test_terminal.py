"""Reports on a terminal of 80 columns and in a pipe."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable

import pytest
from rich.console import Console
from sample import (
    frozen_rows,
    hostile_report,
    layer_rows,
    missed_report,
    regression_report,
    sample_report,
    sparse_report,
)

from edgeprune.records.report import BuildReport, Parity
from edgeprune.report.terminal import render, render_models, render_plan

pytestmark = pytest.mark.unit


def shown(draw: Callable[[Console], None], width: int = 80, terminal: bool = False) -> str:
    stream = io.StringIO()
    draw(Console(file=stream, width=width, force_terminal=terminal, color_system="truecolor" if terminal else None))
    return stream.getvalue()


def cells(text: str, first: str) -> list[str]:
    """The words of the line that starts with `first`."""
    return next(line for line in text.splitlines() if line.startswith(first)).removeprefix(first).split()


def test_a_row_has_before_after_limit_ratio_and_mark() -> None:
    text = shown(lambda console: render(sample_report(), console))
    assert cells(text, "Latency, predicted") == ["12.5", "ms", "4.30", "ms", "<=", "5.00", "ms", "0.34x", "ok"]
    assert cells(text, "accuracy") == ["98.1", "%", "97.8", "%", ">=", "97.1", "%", "-0.30", "points", "ok"]
    assert cells(text, "MACs") == ["12.3", "M", "4.21", "M", "0.34x"]


def test_a_piped_report_has_searchable_lines_and_no_escape_codes() -> None:
    lines = shown(lambda console: render(sample_report(), console)).splitlines()
    assert "Budget met: all 4 limits are kept." in lines
    assert "latency: predicted for Raspberry Pi 4, 4 threads" in lines
    assert "quantization: int8, the fastest mode within the limits" in lines
    assert "  not chosen: dynamic, does not load on tflite-runtime 2.14 (FULLY_CONNECTED v12)" in lines
    assert any(line.startswith("benchmark: 1.85x faster (95 % interval 1.82 to 1.88), median") for line in lines)
    assert any(line.startswith("  warning: the median drifted") for line in lines)
    assert "note: BatchNormalization statistics were re-estimated on 1,024 samples." in lines
    assert not any("\x1b" in line for line in lines)


@pytest.mark.parametrize(
    "report", [sample_report(), missed_report(), regression_report(), hostile_report(), sparse_report()]
)
def test_a_terminal_of_80_columns_is_never_overrun(report: BuildReport) -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=80, force_terminal=True, color_system=None)
    render(report, console)
    render_plan(report.layers, report.frozen, console)
    assert max(len(line) for line in stream.getvalue().splitlines()) <= 80


def test_a_terminal_gets_colour() -> None:
    assert "\x1b[1;31mBudget missed" in shown(lambda console: render(missed_report(), console), terminal=True)


def test_a_missed_budget_is_marked_where_and_said_by_how_much() -> None:
    text = shown(lambda console: render(missed_report(), console))
    assert cells(text, "Latency, predicted")[-1] == "missed"
    assert cells(text, "File size")[-1] == "ok"
    assert "predicted latency 6.20 ms is 1.20 ms (24 %) over the limit of 5.00 ms" in text


def test_a_lower_is_better_metric_has_an_upper_limit() -> None:
    text = shown(lambda console: render(regression_report(), console))
    assert cells(text, "mean_absolute_error") == ["2.500", "2.600", "<=", "2.625", "+4.0", "%", "ok"]


def test_no_benchmark_and_failed_parity_are_said() -> None:
    report = sample_report(bench=None, parity=Parity("int8", 64, 0.4, 0.1, 0.1, False))
    text = shown(lambda console: render(report, console))
    assert "benchmark: none was run" in text
    assert "parity FAILED: largest error 0.40 of the largest Keras output, 0.10 allowed (64 samples)" in text


def test_names_are_neither_markup_nor_terminal_codes() -> None:
    text = shown(lambda console: render(hostile_report(), console), width=200)
    assert "[red]?[31m" in text
    assert "\x1b" not in text


def test_our_own_words_are_ascii_for_terminals_without_unicode() -> None:
    class AsciiStream(io.StringIO):
        encoding = "ascii"

    stream = AsciiStream()
    console = Console(file=stream, width=80)
    render(sample_report(), console)
    render_plan(layer_rows(5), frozen_rows(1, 2), console)
    assert stream.getvalue().isascii()


def test_a_plan_heads_the_second_column_as_asked() -> None:
    report = sample_report()
    text = shown(lambda console: render_models(report.baseline, report.result, (), console, after="planned"))
    assert "planned" in text
    assert "after" not in text


def test_a_plan_lists_each_layer_and_the_sums() -> None:
    # Layer 0: 16 -> 6 channels, 80 000 -> 15 600 MACs; layer 1: 32 -> 16, 160 000 -> 41 600;
    # their sums: 240 000 -> 57 200. Milliseconds: 0.118 + 0.126 -> 0.0925 + 0.09667.
    text = shown(lambda console: render_plan(layer_rows(2), (), console))
    assert cells(text, "block_0_expand") == ["16", "->", "6", "80.0", "k", "->", "15.6", "k", "0.118", "->", "0.0925"]
    assert cells(text, "all layers") == ["240", "k", "->", "57.2", "k", "0.244", "->", "0.189"]
    assert "Not pruned" not in text


def test_zeros_have_a_column_where_there_are_any() -> None:
    report = sparse_report()
    text = shown(lambda console: render_plan(report.layers, (), console), width=100)
    assert cells(text, "block_0_expand")[-5:] == ["0.0", "%", "->", "80.0", "%"]
    assert cells(text, "block_1_depthwise")[-2:] == ["0.0", "%"]
    assert "zeros" not in shown(lambda console: render_plan(layer_rows(2), (), console))
    lines = shown(lambda console: render(report, console)).splitlines()
    assert "zeros: 0.0 % -> 77.0 % of the kernel weights" in lines


def test_an_unchanged_value_is_shown_once() -> None:
    row = layer_rows(4)[3]
    assert row.channels_before == row.channels_after == 144
    assert cells(shown(lambda console: render_plan([row], (), console)), row.layer)[0:2] == ["144", "720"]


def test_a_wide_terminal_also_shows_kind_and_parameters() -> None:
    narrow, wide = (shown(lambda console: render_plan(layer_rows(2), (), console), width) for width in (80, 120))
    assert "params" not in narrow
    assert "params" in wide
    assert "DepthwiseConv2D" in wide


def test_long_layer_names_are_folded_not_cut() -> None:
    name = "backbone/" + "x" * 90
    row = dataclasses.replace(layer_rows(1)[0], layer=name)
    text = shown(lambda console: render_plan([row], (), console))
    assert sum(line.split(" ")[0].count("x") for line in text.splitlines()) == 90


def test_200_frozen_layers_take_two_paragraphs() -> None:
    text = shown(lambda console: render_plan((), frozen_rows(2, 200), console))
    assert "Not pruned: 202 layers" in text
    assert (
        "  200  no rule for the layer type Attention2D: "
        "custom_0, custom_1, custom_2, custom_3, custom_4, custom_5 and 194 more" in text
    )
    assert len(text.splitlines()) < 12
