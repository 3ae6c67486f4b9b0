"""The rows of the before/after table."""

from __future__ import annotations

import dataclasses

import pytest
from sample import frozen_rows, missed_report, regression_report, sample_report

from edgeprune.records.report import BuildReport, FrozenRow, Latency
from edgeprune.report.comparison import Comparison, compare, group_frozen

pytestmark = pytest.mark.unit


def rows_of(report: BuildReport) -> dict[str, Comparison]:
    return {row.key: row for row in compare(report.baseline, report.result, report.limits)}


def test_rows_are_formatted_with_exact_values_beside() -> None:
    size = rows_of(sample_report())["size_kb"]
    assert size.before is not None
    assert size.after is not None
    assert size.bound is not None
    assert (size.before.text, size.before.exact) == ("1.23 MB", "1,234,567 bytes")
    assert (size.after.text, size.bound.text, size.ratio, size.met) == ("383 kB", "400 kB", "0.31x", True)


def test_a_limit_in_kilobytes_becomes_bytes() -> None:
    bound = rows_of(sample_report())["ram_kb"].bound
    assert bound is not None
    assert bound.value == 500_000


def test_quantities_without_a_limit_have_no_verdict() -> None:
    row = rows_of(missed_report())["ram_kb"]
    assert row.bound is None
    assert row.met is None


@pytest.mark.parametrize(("report", "bound"), [(sample_report(), 0.981 - 0.01), (regression_report(), 2.5 * 1.05)])
def test_the_metric_bound_is_absolute_below_or_relative_above(report: BuildReport, bound: float) -> None:
    quantity = rows_of(report)["accuracy_drop"].bound
    assert quantity is not None
    assert quantity.value == pytest.approx(bound)


def test_without_any_metric_there_is_no_metric_row() -> None:
    report = sample_report()
    bare = [dataclasses.replace(record, metric=None) for record in (report.baseline, report.result)]
    assert "accuracy_drop" not in {row.key for row in compare(bare[0], bare[1], ())}


@pytest.mark.parametrize(
    "after",
    [
        Latency(4.3, "measured", "Raspberry Pi 4", 4),
        Latency(4.3, "predicted", "Raspberry Pi 5", 4),
        Latency(4.3, "predicted", "Raspberry Pi 4", 1),
    ],
)
def test_latencies_known_in_different_ways_have_no_ratio(after: Latency) -> None:
    report = sample_report()
    report = dataclasses.replace(report, result=dataclasses.replace(report.result, latency_ms=after))
    row = rows_of(report)["latency_ms"]
    assert row.ratio == "n/a"
    assert row.hint.startswith("before predicted for Raspberry Pi 4, 4 threads; after ")


def test_frozen_layers_are_grouped_with_the_largest_group_first() -> None:
    groups = group_frozen([*frozen_rows(1, 2), FrozenRow("late", "Dense", "its channels are the model's output")])
    assert [(reason, [row.layer for row in rows]) for reason, rows in groups] == [
        ("its channels are the model's output", ["output_0", "late"]),
        ("no rule for the layer type Attention2D", ["custom_0", "custom_1"]),
    ]


def test_energy_is_a_row_where_both_are_estimated():
    report = sample_report()
    assert "energy_mj" not in [row.key for row in compare(report.baseline, report.result, report.limits)]
    before, after = (
        dataclasses.replace(report.baseline, energy_mj=8.0),
        dataclasses.replace(report.result, energy_mj=2.0),
    )
    row = next(row for row in compare(before, after, report.limits) if row.key == "energy_mj")
    assert (row.ratio, row.met, "estimate" in row.label) == ("0.25x", None, True)


def test_the_band_of_a_prediction_and_the_whole_process_are_hints():
    report = sample_report()
    latency = dataclasses.replace(report.result.latency_ms, low=3.9, high=4.9)
    after = dataclasses.replace(report.result, latency_ms=latency, process_ram_bytes=12_500_000)
    rows = {row.key: row for row in compare(report.baseline, after, report.limits)}
    assert "likely 3.90 ms to 4.90 ms" in rows["latency_ms"].hint
    assert "the whole process takes about 12.5 MB after" in rows["ram_kb"].hint
