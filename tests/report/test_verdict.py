"""The sentences of a report."""

from __future__ import annotations

import dataclasses

import pytest
from sample import bench_result, missed_report, regression_report, sample_report

from edgeprune.records.bench import Ratio
from edgeprune.records.report import BuildReport, Latency, LimitRow
from edgeprune.report.verdict import bench_phrase, headline, misses, speedup_phrase, verdict

pytestmark = pytest.mark.unit


def with_latencies(before: Latency, after: Latency) -> BuildReport:
    report = sample_report()
    return dataclasses.replace(
        report,
        baseline=dataclasses.replace(report.baseline, latency_ms=before),
        result=dataclasses.replace(report.result, latency_ms=after),
    )


def test_headline_marks_the_prediction() -> None:
    assert headline(sample_report()) == (
        "2.9x faster, predicted for Raspberry Pi 4, 0.31x file size, accuracy 98.1 % -> 97.8 %"
    )


@pytest.mark.parametrize(
    ("before", "after", "start"),
    [
        (10.0, 5.0, "2.0x faster, measured on rpi4,"),
        (5.0, 10.0, "2.0x slower, measured on rpi4,"),
        (5.0, 5.01, "as fast as before, measured on rpi4,"),
    ],
)
def test_headline_says_measured_slower_and_equal(before: float, after: float, start: str) -> None:
    report = with_latencies(Latency(before, "measured", "rpi4", 4), Latency(after, "measured", "rpi4", 4))
    assert headline(report).startswith(start)


def test_headline_claims_no_speed_from_a_prediction_against_a_measurement() -> None:
    report = with_latencies(Latency(10, "predicted", "rpi4", 4), Latency(5, "measured", "rpi4", 4))
    assert headline(report) == "0.31x file size, accuracy 98.1 % -> 97.8 %"


def test_headline_without_metrics() -> None:
    report = sample_report()
    report = dataclasses.replace(report, result=dataclasses.replace(report.result, metric=None))
    assert headline(report) == "2.9x faster, predicted for Raspberry Pi 4, 0.31x file size"


def test_met_and_unset_budgets() -> None:
    assert verdict(sample_report()) == "Budget met: all 4 limits are kept."
    assert verdict(regression_report()) == "Budget met: its only limit is kept."
    assert verdict(sample_report(limits=())) == "No budget was set."


def test_a_missed_budget_names_value_distance_and_limit() -> None:
    assert misses(missed_report()) == (
        "predicted latency 6.20 ms is 1.20 ms (24 %) over the limit of 5.00 ms",
        "accuracy is 1.8 points worse, more than the 1.0 points allowed",
    )


def test_a_missed_size_is_told_in_bytes() -> None:
    report = sample_report(limits=(LimitRow("size_kb", 400.0, 1234.567, 1500.0, False),))
    assert verdict(report) == "Budget missed: file size 1.50 MB is 1.10 MB (275 %) over the limit of 400 kB."


def test_a_missed_drop_of_an_error_metric_is_relative() -> None:
    report = dataclasses.replace(regression_report(), limits=(LimitRow("accuracy_drop", 0.05, 0.0, 0.12, False),))
    assert misses(report) == ("mean_absolute_error is 12 % worse, more than the 5.0 % allowed",)


def test_bench_phrase_holds_interval_medians_and_place() -> None:
    phrase = bench_phrase(bench_result())
    assert phrase.startswith("1.85x faster (95 % interval 1.82 to 1.88), median 2.4")
    assert phrase.endswith("measured on this computer, 2 threads")


def test_bench_phrase_without_a_baseline_claims_no_speedup() -> None:
    alone = dataclasses.replace(bench_result(), baseline=None, speedup=None)
    assert bench_phrase(alone) == "median 1.31 ms, measured on this computer, 2 threads"


@pytest.mark.parametrize(
    ("ratio", "start"),
    [
        (Ratio(1.02, 0.97, 1.06, 0.95), "no difference shown: speed ratio 1.02"),
        (Ratio(0.8, 0.78, 0.82, 0.95), "slower: 0.80x the baseline's speed"),
        (Ratio(1.2, 1.1, 1.3, 0.9), "1.20x faster (90 % interval 1.10 to 1.30)"),
    ],
)
def test_noise_is_not_a_gain(ratio: Ratio, start: str) -> None:
    assert speedup_phrase(ratio).startswith(start)
