"""The page as text: well-formed, self-contained, escaped, complete."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample import (
    bench_result,
    frozen_rows,
    hostile_report,
    latency_stats,
    layer_rows,
    mask_pictures,
    missed_report,
    regression_report,
    sample_report,
    sparse_report,
)

from edgeprune.records.report import BuildReport, FrozenRow, Metric, Parity
from edgeprune.report.html import render_html

pytestmark = pytest.mark.unit

VOID = {"meta", "link", "br", "hr", "img", "input"}


class Page(HTMLParser):
    """Collects elements, attributes and text; fails on tags that don't match."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.blocks: dict[str, str] = {}
        self.words: list[str] = []
        self.feed(source)
        self.close()
        assert self.open == [], f"left open: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"attribute given twice in <{tag}>: {names}"
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> at {self.getpos()} closes another element"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("style", "script"):
            self.blocks[self.open[-1]] = self.blocks.get(self.open[-1], "") + data
        else:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def bare_report() -> BuildReport:
    """A build that knows as little as possible."""
    report = sample_report(
        0, bench=None, rounds=(), limits=(), frozen=(), budget={}, quantize_trials=(), notes=(), versions={}
    )
    return dataclasses.replace(
        report,
        baseline=dataclasses.replace(report.baseline, metric=None),
        result=dataclasses.replace(report.result, metric=None),
    )


REPORTS = {
    "sample": sample_report(),
    "missed": missed_report(),
    "regression": regression_report(),
    "hostile": hostile_report(),
    "bare": bare_report(),
    "no bench": sample_report(bench=None),
    "sparse": sparse_report(),
    "bench alone": sample_report(bench=dataclasses.replace(bench_result(), baseline=None, speedup=None)),
    "few samples": sample_report(bench=bench_result(5)),
    "no frozen": sample_report(frozen=()),
    "120 layers": sample_report(120, frozen=frozen_rows(2, 200)),
}


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
def test_the_page_is_well_formed_and_loads_nothing(report: BuildReport) -> None:
    source = render_html(report)
    page = Page(source)
    assert source.startswith("<!DOCTYPE html>")
    assert not re.search(r"https?:|//[a-z]", re.sub(r"<script>.*</script>", "", source, flags=re.S))
    for tag, attributes in page.tags:
        assert "src" not in attributes, tag
        assert not [name for name in attributes if name.startswith("on")], tag
        assert attributes.get("href") in (None, "data:,"), tag
    assert not {"iframe", "object", "embed", "img", "base", "form"} & {tag for tag, _ in page.tags}
    assert "url(" not in page.blocks["style"]
    assert "@import" not in page.blocks["style"]


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
def test_only_the_two_own_blocks_pass_the_policy(report: BuildReport) -> None:
    page = Page(render_html(report))
    policy = next(meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    hashes = {
        name: base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        for name, content in page.blocks.items()
    }
    style, script = (f"'sha256-{hashes[name]}'" for name in ("style", "script"))
    assert policy == f"default-src 'none'; style-src {style}; script-src {script}; img-src data:"
    assert len(page.all("script")) == len(page.all("style")) == 1
    assert not [tag for tag, attributes in page.tags if "style" in attributes]


def test_every_picture_is_named_and_every_heading_reference_exists() -> None:
    page = Page(render_html(sample_report()))
    assert all(svg.get("aria-label") or svg.get("aria-hidden") for svg in page.all("svg"))
    identifiers = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    assert {section["aria-labelledby"] for section in page.all("section")} <= set(identifiers)


def test_the_top_holds_verdict_and_headline() -> None:
    text = Page(render_html(sample_report())).text
    assert "✓ Budget met 2.9x faster, predicted for Raspberry Pi 4, 0.31x file size, accuracy 98.1 % → 97.8 %" in text


def test_people_get_short_numbers_and_titles_hold_the_exact_ones() -> None:
    source = render_html(sample_report())
    for exact, text in [
        ("1,234,567 bytes", "1.23 MB"),
        ("382,716 bytes", "383 kB"),
        ("12.47 ms", "12.5 ms"),
        ("12,345,678", "12.3 M"),
        ("0.978", "97.8 %"),
    ]:
        assert f'<span title="{exact}">{text}</span>' in source


def test_a_prediction_is_named_where_its_number_stands() -> None:
    text = Page(render_html(sample_report())).text
    assert "Latency, predicted predicted for Raspberry Pi 4, 4 threads 12.5 ms 4.30 ms" in text
    assert "Latency predicted for Raspberry Pi 4, 4 threads before" in text
    assert "not measured on that board" in text
    assert "Predicted ms" in text


def test_a_measurement_is_not_called_predicted() -> None:
    report = sample_report(0, rounds=())
    records = [
        dataclasses.replace(record, latency_ms=dataclasses.replace(record.latency_ms, method="measured"))
        for record in (report.baseline, report.result)
    ]
    text = Page(render_html(dataclasses.replace(report, baseline=records[0], result=records[1]))).text
    assert "measured on Raspberry Pi 4" in text
    assert "predicted" not in text.lower()


def test_a_missed_budget_says_by_how_much() -> None:
    text = Page(render_html(missed_report())).text
    assert "✗ Budget missed" in text
    assert "predicted latency 6.20 ms is 1.20 ms (24 %) over the limit of 5.00 ms" in text
    assert "accuracy is 1.8 points worse, more than the 1.0 points allowed" in text
    assert "Budget met" not in text


def test_an_error_metric_has_an_upper_limit() -> None:
    text = Page(render_html(regression_report())).text
    assert "mean_absolute_error lower is better; on the validation data 2.500 2.600 ≤ 2.625 +4.0 % ✓ met" in text


def test_without_budget_bench_rounds_or_frozen_layers_nothing_is_claimed() -> None:
    text = Page(render_html(bare_report())).text
    assert "No budget was set" in text
    assert "No benchmark was run." in text
    for absent in ("Rounds of pruning", "not pruned", "Channels kept", "Budget met", "accuracy", "Quantization modes"):
        assert absent not in text


def test_a_percentile_without_enough_samples_is_not_shown() -> None:
    text = Page(render_html(sample_report(bench=bench_result(5)))).text
    assert text.count("too few") == 4


def test_failed_parity_is_said_at_the_top() -> None:
    text = Page(render_html(sample_report(parity=Parity("int8", 64, 0.4, 0.1, 0.1, False)))).text
    assert text.index("differ from the Keras model's by more than the tolerance") < text.index("Quantity")
    assert "✗ failed" in text


@pytest.mark.parametrize("count", [1, 5, 120])
def test_every_layer_is_in_chart_and_table(count: int) -> None:
    rows = layer_rows(count)
    page = Page(render_html(sample_report(count)))
    sorted_by = [cell["data-sort"] for cell in page.all("td") if "data-sort" in cell]
    bars = [svg["aria-label"] for svg in page.all("svg") if "channels kept" in (svg.get("aria-label") or "")]
    assert [value for value in sorted_by if value in {row.layer for row in rows}] == [row.layer for row in rows]
    assert bars == [f"{row.channels_after} of {row.channels_before} channels kept" for row in rows]


def test_a_bar_is_the_share_of_channels_kept() -> None:
    row = dataclasses.replace(layer_rows(1)[0], channels_before=32, channels_after=8)
    source = render_html(dataclasses.replace(sample_report(), layers=(row,)))
    assert '<rect x="0" y="0" width="25.00%" height="100%" rx="2" class="kept-after">' in source


def test_zeros_are_shown_per_layer_and_in_total() -> None:
    page = Page(render_html(sparse_report()))
    shares = [cell["data-sort"] for cell in page.all("td") if cell.get("title") in ("0 to 0.8", "0", "0 to 0.77")]
    assert shares.count("0.8") == 16  # five of 21 layers are depthwise
    assert shares.count("0.77") == 1
    assert "Zeros" in page.text
    assert "Zeros" not in Page(render_html(sample_report())).text


def test_every_mask_is_drawn_up_to_a_number_and_the_rest_counted() -> None:
    page = Page(render_html(sparse_report(), mask_pictures(5)))
    images = page.all("img")
    assert [image["alt"] for image in images] == [f"80.0 % of block_{n}_expand/kernel is zero" for n in range(5)]
    assert all((image["src"] or "").startswith("data:image/png;base64,") for image in images)
    assert "largest of" not in page.text
    many = Page(render_html(sparse_report(), mask_pictures(30)))
    assert len(many.all("img")) == 24
    assert "The 24 largest of 30 sparse kernels are shown." in many.text


def test_a_kernels_name_is_text() -> None:
    picture = dataclasses.replace(mask_pictures(1)[0], kernel='"><script>alert(1)</script>')
    page = Page(render_html(sparse_report(), (picture,)))
    assert len(page.all("script")) == 1
    assert page.all("img")[0]["alt"] == '80.0 % of "><script>alert(1)</script> is zero'


def test_every_frozen_layer_and_reason_is_listed() -> None:
    text = Page(render_html(sample_report(frozen=frozen_rows(2, 200)))).text
    assert "no rule for the layer type Attention2D (200 layers)" in text
    for row in frozen_rows(2, 200):
        assert f" {row.layer} " in text


def test_rounds_trials_notes_seed_and_versions_are_shown() -> None:
    text = Page(render_html(sample_report())).text
    assert "2 6.80 ms 6.40 M 150 k 88.3 % 97.9 % 4" in text
    assert "int8 97.8 % 383 kB ✓ chosen: the fastest mode within the limits" in text
    assert "dynamic not tried n/a does not load on tflite-runtime 2.14" in text
    assert "BatchNormalization statistics were re-estimated" in text
    assert "Warning: the median drifted" in text
    assert "Seed 7" in text
    assert "keras 3.15.0" in text
    assert "latency_ms = 5.0" in text
    assert "size_ratio" not in text


def test_hostile_names_are_text_everywhere() -> None:
    source = render_html(hostile_report())
    page = Page(source)
    assert len(page.all("script")) == 1
    assert "<script>alert" not in source
    assert "alert" not in page.blocks["script"]
    assert "\x1b" not in source
    assert "<script>alert('x')</script>\"onload=alert(1)&[red]?[31m" in page.text


@settings(max_examples=25, deadline=None)
@given(st.text(alphabet=st.characters(), min_size=1, max_size=40))
def test_any_name_gives_a_page_of_the_same_shape(name: str) -> None:
    report = sample_report(1, bench=None, rounds=())
    named = dataclasses.replace(
        report,
        target=name,
        layers=(dataclasses.replace(report.layers[0], layer=name, kind=name),),
        frozen=(FrozenRow(name, name, name),),
        result=dataclasses.replace(report.result, metric=Metric(name, 2.0, True)),
    )
    source = render_html(named)
    source.encode("utf-8")
    plain = render_html(
        dataclasses.replace(
            named,
            target="n",
            layers=(dataclasses.replace(named.layers[0], layer="n", kind="n"),),
            frozen=(FrozenRow("n", "n", "n"),),
            result=dataclasses.replace(report.result, metric=Metric("n", 2.0, True)),
        )
    )
    assert [tag for tag, _ in Page(source).tags] == [tag for tag, _ in Page(plain).tags]


def test_the_page_stays_small() -> None:
    assert len(render_html(sample_report(120)).encode()) < 250_000


def test_a_benchmark_that_kept_no_samples_has_no_histogram() -> None:
    model = dataclasses.replace(bench_result().model, samples_ms=())
    source = render_html(sample_report(bench=dataclasses.replace(bench_result(), model=model)))
    assert "plot histogram" not in source
    assert "plot histogram" in render_html(sample_report())


def test_samples_beyond_the_drawing_are_counted() -> None:
    stats = latency_stats("model.tflite", 1.3, 200, 3)
    stalled = dataclasses.replace(stats, samples_ms=(*stats.samples_ms, 80.0))
    report = sample_report(bench=dataclasses.replace(bench_result(), model=stalled))
    assert "1 sample beyond the right edge is not drawn." in Page(render_html(report)).text
