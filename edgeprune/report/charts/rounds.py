"""The metric of each round against the predicted latency: what surgery costs and training wins back."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from edgeprune.records.report import Metric, RoundRow
from edgeprune.report import format as fmt
from edgeprune.report.charts.axis import Axis, axis_over, frame
from edgeprune.report.charts.svg import element, percent, picture

# Labels of rounds closer than this share of the width are left out; the table has them all.
_LABEL_GAP = 0.05
_TITLE_LENGTH = 32


def rounds_chart(rounds: Sequence[RoundRow], metric: Metric, bound: float | None) -> Markup:
    """Points after surgery (hollow) and after training (filled), joined per round.

    `metric` is the baseline's, `bound` the worst value the budget allows (None: no limit).
    """
    surgery = [row.metric_after_surgery for row in rounds]
    training = [row.metric_after_training for row in rounds]
    references = [metric.value] + ([] if bound is None else [bound])
    share = fmt.is_share(metric.name, *surgery, *training, *references)
    x = axis_over([row.latency_ms for row in rounds], count=6)
    y = axis_over([*surgery, *training, *references], count=5, scale=100 if share else 1)
    parts = [frame(x, y, "predicted latency, ms", axis_title(metric.name, share))]
    parts.append(_reference(metric.value, y, "before", "baseline"))
    if bound is not None:
        parts.append(_reference(bound, y, "limit", "worst allowed"))
    for previous, row in zip(rounds, rounds[1:], strict=False):
        parts.append(_line(x, y, previous.latency_ms, previous.metric_after_training, row, "path"))
    for row in rounds:
        parts.append(_line(x, y, row.latency_ms, row.metric_after_training, row, "drop"))
    labelled: list[float] = []
    for row in rounds:
        place = x.at(row.latency_ms)
        parts.append(_point(x, y, row, row.metric_after_surgery, "surgery", metric.name))
        parts.append(_point(x, y, row, row.metric_after_training, "training", metric.name))
        if all(abs(place - other) >= _LABEL_GAP for other in labelled):
            labelled.append(place)
            parts.append(_number(row, x, y))
    label = f"{fmt.plural(len(rounds), 'round')}: {metric.name} after training " + ", ".join(
        f"{fmt.metric_value_text(metric.name, row.metric_after_training)} at {fmt.latency_text(row.latency_ms)}"
        for row in rounds
    )
    return picture(label, "plot", *parts)


def axis_title(name: str, share: bool) -> str:
    """The y axis' title: one line of SVG text does not wrap, so that a long name is cut."""
    short = name if len(name) <= _TITLE_LENGTH else name[: _TITLE_LENGTH - 1] + "\N{HORIZONTAL ELLIPSIS}"
    return f"{short}, %" if share else short


def _number(row: RoundRow, x: Axis, y: Axis) -> Markup:
    """The round's number beside its hollow point, on the side that has room."""
    place = x.at(row.latency_ms)
    left = place > 0.95
    return element(
        "text",
        str(row.number),
        x=percent(place),
        y=percent(1 - y.at(row.metric_after_surgery)),
        dx=-10 if left else 10,
        dy="0.34em",
        text_anchor="end" if left else "start",
        class_="tick",
    )


def _reference(value: float, y: Axis, class_: str, name: str) -> Markup:
    height = percent(1 - y.at(value))
    return element(
        "line", element("title", name), x1="0", x2="100%", y1=height, y2=height, class_=f"reference {class_}"
    )


def _line(x: Axis, y: Axis, from_latency: float, from_metric: float, row: RoundRow, class_: str) -> Markup:
    """From a trained point to the same round's surgery point ("drop") or to the next trained point ("path")."""
    to_metric = row.metric_after_surgery if class_ == "drop" else row.metric_after_training
    return element(
        "line",
        x1=percent(x.at(from_latency)),
        y1=percent(1 - y.at(from_metric)),
        x2=percent(x.at(row.latency_ms)),
        y2=percent(1 - y.at(to_metric)),
        class_=class_,
    )


def _point(x: Axis, y: Axis, row: RoundRow, value: float, class_: str, name: str) -> Markup:
    title = (
        f"round {row.number}, after {class_}: {name} {fmt.metric_value_text(name, value)}, "
        f"predicted latency {fmt.latency_text(row.latency_ms)}"
    )
    return element(
        "circle",
        element("title", title),
        cx=percent(x.at(row.latency_ms)),
        cy=percent(1 - y.at(value)),
        r=5,
        class_=class_,
    )
