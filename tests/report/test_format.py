"""Numbers as people read them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeprune.records.report import Latency, Metric
from edgeprune.report import format as fmt

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (4.3149, "4.31"),
        (9.996, "10.0"),
        (123.4, "123"),
        (1234.4, "1234"),
        (0.00123, "0.00123"),
        (0.0000001234, "0.000000123"),
        (-2.5, "-2.50"),
        (math.nan, "n/a"),
        (math.inf, "n/a"),
    ],
)
def test_significant(value: float, text: str) -> None:
    assert fmt.significant(value) == text


@given(st.floats(min_value=1e-9, max_value=1e12))
def test_significant_is_within_half_a_unit_of_the_third_digit(value: float) -> None:
    text = fmt.significant(value)
    assert "e" not in text
    assert float(text) == pytest.approx(value, rel=0.0051)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (512, "512 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (382_716, "383 kB"),
        (999_499, "999 kB"),
        (999_500, "1.00 MB"),
        (1_234_567, "1.23 MB"),
        (5_000_000_000, "5.00 GB"),
        (7_000_000_000_000_000, "7000 TB"),
    ],
)
def test_sizes_are_decimal_and_carry_into_the_next_unit(size: int, text: str) -> None:
    assert fmt.size_text(size) == text


@pytest.mark.parametrize(
    ("count", "text"), [(7, "7"), (12_345, "12.3 k"), (12_345_678, "12.3 M"), (2_000_000_000, "2.00 G")]
)
def test_counts(count: int, text: str) -> None:
    assert fmt.count_text(count) == text


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(4.3149, "4.31 ms"), (0.0412, "0.0412 ms"), (999.4, "999 ms"), (999.6, "1.00 s"), (2500, "2.50 s")],
)
def test_latencies(milliseconds: float, text: str) -> None:
    assert fmt.latency_text(milliseconds) == text


@pytest.mark.parametrize(
    ("after", "before", "text"),
    [(31, 100, "0.31x"), (100, 100, "1.00x"), (1, 100, "0.010x"), (0, 5, "0.00x"), (1, 0, "n/a")],
)
def test_ratios(after: float, before: float, text: str) -> None:
    assert fmt.ratio_text(after, before) == text


@pytest.mark.parametrize(("value", "text"), [(1234567, "1,234,567"), (12.0, "12"), (0.978, "0.978"), (12.47, "12.47")])
def test_exact_values_keep_every_digit(value: float, text: str) -> None:
    assert fmt.exact_text(value) == text


@pytest.mark.parametrize(
    ("metric", "text"),
    [
        (Metric("accuracy", 0.9781, True), "97.8 %"),
        (Metric("val_sparse_categorical_accuracy", 1.0, True), "100.0 %"),
        (Metric("mean_io_u", 0.5, True), "0.5000"),
        (Metric("accuracy_like_score", 3.25, True), "3.250"),
        (Metric("mean_absolute_error", 0.25, False), "0.2500"),
    ],
)
def test_only_accuracy_like_shares_become_per_cent(metric: Metric, text: str) -> None:
    assert fmt.metric_text(metric) == text


@pytest.mark.parametrize(
    ("name", "before", "after", "text"),
    [
        ("accuracy", 0.981, 0.978, "-0.30 points"),
        ("accuracy", 0.9, 0.95, "+5.0 points"),
        ("accuracy", 0.9, 0.9, "no change"),
        ("mae", 2.5, 2.6, "+4.0 %"),
        ("r2", -2.0, -3.0, "-50 %"),
        ("loss", 0.0, 0.5, "+0.50"),
    ],
)
def test_changes_are_points_for_shares_and_relative_otherwise(
    name: str, before: float, after: float, text: str
) -> None:
    assert fmt.change_text(Metric(name, before, True), Metric(name, after, True)) == text


def test_provenance_says_predicted_or_measured() -> None:
    assert fmt.provenance_text(Latency(1.0, "predicted", "rpi4", 4)) == "predicted for rpi4, 4 threads"
    assert fmt.provenance_text(Latency(1.0, "measured", "rpi4", 1)) == "measured on rpi4, 1 thread"


@given(st.text())
def test_printable_text_is_one_line_without_control_characters(text: str) -> None:
    assert fmt.printable(text).isprintable()


def test_printable_keeps_ordinary_text() -> None:
    assert fmt.printable("block_1/conv\x1b[31m\nnext") == "block_1/conv?[31m next"
