"""Strategies by latency and metric, with the front of those that no other beats in both."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from edgeprune.records.report import Metric, StrategyTrial
from edgeprune.report import format as fmt
from edgeprune.report.charts.axis import Axis, axis_over, frame
from edgeprune.report.charts.rounds import axis_title
from edgeprune.report.charts.svg import element, percent, picture

# A label of a point further right than this stands left of it.
_RIGHT = 0.6
_LINE = 16


def front(trials: Sequence[StrategyTrial]) -> tuple[StrategyTrial, ...]:
    """Those with a metric that no other one beats in latency and metric, the fastest first."""
    known = [trial for trial in trials if trial.metric is not None and trial.latency_ms is not None]
    ordered = sorted(known, key=lambda trial: (trial.latency_ms, -_goodness(trial)))
    found: list[StrategyTrial] = []
    for trial in ordered:
        if not found or _goodness(trial) > _goodness(found[-1]):
            found.append(trial)
    return tuple(found)


def pareto_chart(
    trials: Sequence[StrategyTrial],
    baseline: Metric,
    latency_limit: float | None,
    metric_limit: float | None,
    method: str,
) -> Markup | None:
    """Latency to the right, the metric upwards; the chosen strategy is filled. None where nothing was judged.

    baseline: of the dense float32 model. The limits are those of the budget, in milliseconds and in the metric's unit.
    method: how latencies are known, "predicted" or "measured".
    """
    shown = [trial for trial in trials if trial.metric is not None and trial.latency_ms is not None]
    if not shown:
        return None
    times = [trial.latency_ms for trial in shown if trial.latency_ms is not None]
    values = [trial.metric.value for trial in shown if trial.metric is not None]
    marks = [baseline.value] + ([] if metric_limit is None else [metric_limit])
    share = fmt.is_share(baseline.name, *values, *marks)
    x = axis_over([0.0, *times, *([] if latency_limit is None else [latency_limit])], count=6)
    y = axis_over([*values, *marks], count=5, scale=100 if share else 1)
    parts = [frame(x, y, f"{method} latency, ms", axis_title(baseline.name, share))]
    parts.append(_mark(1 - y.at(baseline.value), "horizontal", "before", "the dense float32 model"))
    if metric_limit is not None:
        parts.append(_mark(1 - y.at(metric_limit), "horizontal", "limit", "worst allowed"))
    if latency_limit is not None:
        parts.append(_mark(x.at(latency_limit), "vertical", "limit", "slowest allowed"))
    parts += _front_line(front(trials), x, y)
    heights: list[tuple[float, float]] = []
    for trial in shown:
        parts += _point(trial, x, y, heights)
    label = "strategies: " + ", ".join(_words(trial) for trial in shown)
    return picture(label, "plot", *parts)


def _goodness(trial: StrategyTrial) -> float:
    assert trial.metric is not None
    return trial.metric.value if trial.metric.higher_is_better else -trial.metric.value


def _front_line(trials: Sequence[StrategyTrial], x: Axis, y: Axis) -> list[Markup]:
    """Steps: between two strategies of the front the faster one is the best there is."""
    parts = []
    for left, right in zip(trials, trials[1:], strict=False):
        assert left.metric is not None
        assert right.metric is not None
        assert left.latency_ms is not None
        assert right.latency_ms is not None
        x1, x2 = percent(x.at(left.latency_ms)), percent(x.at(right.latency_ms))
        y1, y2 = percent(1 - y.at(left.metric.value)), percent(1 - y.at(right.metric.value))
        parts.append(element("line", x1=x1, y1=y1, x2=x2, y2=y1, class_="path"))
        parts.append(element("line", x1=x2, y1=y1, x2=x2, y2=y2, class_="path"))
    return parts


def _mark(place: float, direction: str, class_: str, name: str) -> Markup:
    at = percent(place)
    ends = {"x1": "0", "x2": "100%", "y1": at, "y2": at}
    if direction == "vertical":
        ends = {"x1": at, "x2": at, "y1": "0", "y2": "100%"}
    return element("line", element("title", name), **ends, class_=f"reference {class_}")


def _point(trial: StrategyTrial, x: Axis, y: Axis, labelled: list[tuple[float, float]]) -> list[Markup]:
    """The point with its name; a name moves down where another one stands close."""
    assert trial.metric is not None
    assert trial.latency_ms is not None
    place, height = x.at(trial.latency_ms), 1 - y.at(trial.metric.value)
    crowd = sum(abs(place - other) < 0.3 and abs(height - level) < 0.07 for other, level in labelled)
    labelled.append((place, height))
    left = place > _RIGHT
    at = {"cx": percent(place), "cy": percent(height)}
    return [
        element(
            "circle",
            element("title", _words(trial)),
            **at,
            r=6 if trial.chosen else 5,
            class_="training" if trial.chosen else "surgery",
        ),
        element(
            "text",
            f"{trial.strategy}, {trial.quantize}",
            x=at["cx"],
            y=at["cy"],
            dx=-9 if left else 9,
            dy=-8 + _LINE * crowd,
            text_anchor="end" if left else "start",
            class_="tick halo",
        ),
    ]


def _words(trial: StrategyTrial) -> str:
    assert trial.metric is not None
    assert trial.latency_ms is not None
    return (
        f"{trial.strategy} in {trial.quantize}: {fmt.metric_text(trial.metric)} at {fmt.latency_text(trial.latency_ms)}"
    )
