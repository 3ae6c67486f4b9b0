"""Linear axes with round tick values."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import Markup

from edgeprune.report.charts.svg import element, percent


@dataclass(frozen=True)
class Axis:
    """A linear axis from `low` to `high` with round ticks inside; `scale` multiplies the labels (100 for per cent)."""

    low: float
    high: float
    step: float
    scale: float = 1.0

    def at(self, value: float) -> float:
        """Where `value` lies, as a share of the axis; not clipped."""
        return (value - self.low) / (self.high - self.low)

    @property
    def ticks(self) -> tuple[float, ...]:
        """Multiples of the step from low to high."""
        first = math.ceil(self.low / self.step - 1e-9)
        last = math.floor(self.high / self.step + 1e-9)
        return tuple(index * self.step for index in range(first, last + 1))

    def label(self, tick: float) -> str:
        """A tick with just the decimals that the step needs."""
        decimals = max(0, -math.floor(math.log10(self.step * self.scale) + 1e-9))
        text = f"{tick * self.scale:.{decimals}f}"
        return text.lstrip("-") if float(text) == 0 else text


def axis_over(values: Iterable[float], count: int = 5, scale: float = 1.0) -> Axis:
    """An axis that holds `values`, with about `count` ticks at multiples of 1, 2 or 5 and ends on ticks."""
    held = list(values)
    low, high = min(held), max(held)
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        # One value only: give it a little room, or there is nothing to divide by.
        room = abs(high) * 0.05 or 0.5
        low, high = low - room, high + room
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    return Axis(math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step, step, scale)


def frame(x: Axis, y: Axis, x_title: str, y_title: str, title_rise: int = 14) -> Markup:
    """Grid lines, tick labels and titles; the drawing's CSS padding leaves room for them.

    The title of the y axis stands `title_rise` pixels above the plot.
    """
    parts = [element("text", y_title, x="-36", y=-title_rise, class_="axis-title")]
    for tick in y.ticks:
        height = percent(1 - y.at(tick))
        parts.append(element("line", x1="0", x2="100%", y1=height, y2=height, class_="grid"))
        parts.append(element("text", y.label(tick), x="-8", y=height, dy="0.32em", text_anchor="end", class_="tick"))
    for tick in x.ticks:
        place = percent(x.at(tick))
        parts.append(element("text", x.label(tick), x=place, y="100%", dy="18", text_anchor="middle", class_="tick"))
    parts.append(element("line", x1="0", x2="100%", y1="100%", y2="100%", class_="axis"))
    parts.append(element("text", x_title, x="100%", y="100%", dy="38", text_anchor="end", class_="axis-title"))
    return Markup("").join(parts)
