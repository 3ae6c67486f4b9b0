"""What the charts draw, read back from their SVG."""

from __future__ import annotations

import dataclasses
import re
from xml.etree import ElementTree

import pytest
from markupsafe import Markup

from edgeprune.records.bench import BenchResult, LatencyStats
from edgeprune.records.report import Metric, RoundRow, StrategyTrial
from edgeprune.report.charts.budget_bars import budget_bars
from edgeprune.report.charts.latency_histogram import latency_histogram
from edgeprune.report.charts.pareto import front, pareto_chart
from edgeprune.report.charts.rounds import rounds_chart
from edgeprune.report.comparison import Comparison, Quantity

pytestmark = pytest.mark.unit


def parsed(svg: Markup) -> ElementTree.Element:
    return ElementTree.fromstring(str(svg))


def of_class(svg: ElementTree.Element, tag: str, name: str) -> list[ElementTree.Element]:
    return [found for found in svg.iter(tag) if name in found.get("class", "").split()]


def length(found: ElementTree.Element, attribute: str) -> float:
    return float(found.get(attribute, "").rstrip("%"))


def comparison(before: float, after: float, bound: float | None, met: bool | None = True) -> Comparison:
    def quantity(value: float) -> Quantity:
        return Quantity(value, f"{value:g} u", repr(value))

    limit = None if bound is None else quantity(bound)
    return Comparison("size_kb", "Size", "", quantity(before), quantity(after), limit, "", met)


def stats(*samples: float) -> LatencyStats:
    ordered = tuple(sorted(samples))
    return LatencyStats("m", ordered, ordered[len(ordered) // 2], None, None)


def bench(model: LatencyStats, baseline: LatencyStats | None) -> BenchResult:
    return BenchResult("local", "litert", 1, 1, model, baseline, None, ())


def test_bars_are_in_proportion_and_start_at_zero() -> None:
    svg = parsed(budget_bars(comparison(100, 25, 50), floor=False))
    before, after = of_class(svg, "rect", "before")[0], of_class(svg, "rect", "after")[0]
    assert (length(before, "x"), length(before, "width")) == (0, 100)
    assert (length(after, "x"), length(after, "width")) == (0, 25)
    assert length(of_class(svg, "line", "limit")[0], "x1") == 50
    assert svg.get("aria-label") == "Size: before 100 u, after 25 u, limit 50 u, met"


def test_a_limit_beyond_both_bars_sets_the_scale() -> None:
    svg = parsed(budget_bars(comparison(100, 25, 200), floor=False))
    assert length(of_class(svg, "rect", "before")[0], "width") == 50
    assert length(of_class(svg, "line", "limit")[0], "x1") == 100


def test_a_missed_floor_is_said_and_marked() -> None:
    svg = parsed(budget_bars(comparison(100, 25, 50, met=False), floor=True))
    assert of_class(svg, "text", "missed")[0].text == "at least 50 u"
    assert "missed" in svg.get("aria-label", "")


def test_negative_values_grow_to_the_left_of_zero() -> None:
    svg = parsed(budget_bars(comparison(-1, 3, None, None), floor=True))
    before, after = of_class(svg, "rect", "before")[0], of_class(svg, "rect", "after")[0]
    assert (length(before, "x"), length(before, "width")) == (0, 25)
    assert (length(after, "x"), length(after, "width")) == (25, 75)
    assert of_class(svg, "line", "limit") == []


def test_an_unknown_value_has_no_bar() -> None:
    row = dataclasses.replace(comparison(1, 1, None, None), after=None)
    svg = parsed(budget_bars(row, floor=False))
    assert of_class(svg, "rect", "after") == []
    assert of_class(svg, "text", "after")[0].text == "n/a"


def test_bins_hold_every_sample_of_each_series() -> None:
    drawing = latency_histogram(bench(stats(1.0, 1.1, 1.1, 1.9), stats(2.0, 2.0)))
    svg = parsed(drawing.svg)
    for name in ("before", "after"):
        titles = [bin_.findtext("title", "") for bin_ in of_class(svg, "rect", "bin") if name in bin_.get("class", "")]
        shares = [float(re.search(r": ([\d.]+) %", title).group(1)) for title in titles]  # type: ignore[union-attr]
        assert sum(shares) == pytest.approx(100)
    assert drawing.beyond == 0
    # The axis runs from 1.0 to 2.0: the medians 1.1 and 2.0 lie at 10 % and 100 %.
    assert [length(line, "x1") for line in of_class(svg, "line", "median")] == [100, 10]


def test_rare_stalls_are_counted_instead_of_drawn() -> None:
    drawing = latency_histogram(bench(stats(*[1.0 + index / 1000 for index in range(199)], 50.0), None))
    assert drawing.beyond == 1
    assert len(of_class(parsed(drawing.svg), "line", "median")) == 1


def test_equal_samples_still_make_a_histogram() -> None:
    svg = parsed(latency_histogram(bench(stats(2.0, 2.0, 2.0), None)).svg)
    assert len(of_class(svg, "rect", "bin")) == 1


def rounds(*points: tuple[float, float, float]) -> list[RoundRow]:
    return [RoundRow(number, 1, 1, *point, epochs=1) for number, point in enumerate(points, start=1)]


def test_rounds_stand_at_their_latency_and_metric() -> None:
    # Latency axis 2..10, metric axis 80..100 %.
    svg = parsed(rounds_chart(rounds((10.0, 0.8, 0.95), (2.0, 0.85, 0.9)), Metric("accuracy", 1.0, True), None))
    surgery, training = of_class(svg, "circle", "surgery"), of_class(svg, "circle", "training")
    assert [(length(point, "cx"), length(point, "cy")) for point in surgery] == [(100, 100), (0, 75)]
    assert [(length(point, "cx"), length(point, "cy")) for point in training] == [(100, 25), (0, 50)]
    assert length(of_class(svg, "line", "reference")[0], "y1") == 0
    assert len(of_class(svg, "line", "path")) == 1
    assert "predicted latency, ms" in [text.text for text in svg.iter("text")]


def test_the_worst_allowed_metric_is_a_second_reference() -> None:
    svg = parsed(rounds_chart(rounds((10.0, 5.0, 2.0)), Metric("mae", 1.0, False), 3.0))
    assert [line.findtext("title") for line in of_class(svg, "line", "reference")] == ["baseline", "worst allowed"]


def test_numbers_of_crowded_rounds_are_left_out() -> None:
    crowded = rounds((10.0, 0.5, 0.9), (9.99, 0.5, 0.9), (2.0, 0.5, 0.9))
    svg = parsed(rounds_chart(crowded, Metric("accuracy", 0.9, True), None))
    numbers = [text.text for text in of_class(svg, "text", "tick") if text.get("dx")]
    assert numbers == ["1", "3"]


def test_a_long_metric_name_is_cut_on_the_axis() -> None:
    svg = parsed(rounds_chart(rounds((1.0, 1.0, 2.0)), Metric("m" * 80, 1.0, True), None))
    titles = [text.text or "" for text in of_class(svg, "text", "axis-title")]
    assert titles[0] == "m" * 31 + "\N{HORIZONTAL ELLIPSIS}"


def trial(name: str, latency_ms: float | None, accuracy: float | None, chosen: bool = False) -> StrategyTrial:
    metric = None if accuracy is None else Metric("accuracy", accuracy, True)
    return StrategyTrial(name, "int8", metric, latency_ms, 1000, 1000, None, chosen, "why")


def test_the_front_holds_what_no_other_strategy_beats() -> None:
    best, fast, beaten = trial("best", 10, 0.9), trial("fast", 2, 0.8), trial("beaten", 10, 0.85)
    untrained, equal = trial("untrained", 1, None), trial("equal", 12, 0.9)
    assert front([best, beaten, untrained, fast, equal]) == (fast, best)
    errors = [
        dataclasses.replace(each, metric=Metric("loss", value, False)) for each, value in ((best, 1.0), (fast, 2.0))
    ]
    assert front(errors) == (errors[1], errors[0])


def test_strategies_are_points_by_latency_and_metric() -> None:
    trials = [trial("fast", 2, 0.8, chosen=True), trial("best", 10, 0.9), trial("untrained", 1, None)]
    drawn = pareto_chart(trials, Metric("accuracy", 0.9, True), 8, 0.75, "predicted")
    assert drawn is not None
    svg = parsed(drawn)
    (chosen,), (other,) = of_class(svg, "circle", "training"), of_class(svg, "circle", "surgery")
    assert length(chosen, "cx") < length(other, "cx")
    assert length(chosen, "cy") > length(other, "cy")
    vertical = [line for line in of_class(svg, "line", "limit") if line.get("x1") == line.get("x2")]
    assert length(chosen, "cx") < length(vertical[0], "x1") < length(other, "cx")
    assert [text.text for text in svg.iter("text") if "int8" in (text.text or "")] == ["fast, int8", "best, int8"]


def test_no_chart_where_no_strategy_was_judged() -> None:
    assert pareto_chart([trial("untrained", 1, None)], Metric("accuracy", 0.9, True), None, None, "predicted") is None
