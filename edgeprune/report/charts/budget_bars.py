"""Before and after as two bars, with the budget's limit as a line across both."""

from __future__ import annotations

from markupsafe import Markup

from edgeprune.report.charts.svg import anchor, element, percent, picture
from edgeprune.report.comparison import Comparison, Quantity

# Pixels from the top: the two bars, then the limit's label.
_BAR_TOPS = (6, 34)
_BAR_HEIGHT = 20
_LIMIT_LABEL_BASELINE = 77


def budget_bars(row: Comparison, floor: bool) -> Markup:
    """Two bars from zero on one scale; `floor` says that the limit is a lowest allowed value."""
    known = [quantity.value for quantity in (row.before, row.after, row.bound) if quantity]
    low, high = min(0.0, *known), max(0.0, *known)
    span = (high - low) or 1.0
    parts: list[Markup] = []
    for name, quantity, top in zip(("before", "after"), (row.before, row.after), _BAR_TOPS, strict=True):
        parts.extend(_bar(name, quantity, top, low, span))
    parts.append(element("line", x1=percent(-low / span), x2=percent(-low / span), y1="2", y2="58", class_="axis"))
    label = f"{row.label}: before {_said(row.before)}, after {_said(row.after)}"
    if row.bound:
        share = (row.bound.value - low) / span
        state = "met" if row.met else "missed"
        text = f"{'at least' if floor else 'limit'} {row.bound.text}"
        place = percent(share)
        parts.append(element("line", x1=place, x2=place, y1="0", y2="62", class_=f"limit {state}"))
        side, css = anchor(share), f"limit-label {state}"
        parts.append(element("text", text, x=place, y=_LIMIT_LABEL_BASELINE, text_anchor=side, class_=css))
        label += f", {text}, {state}"
    return picture(label, "bars" if row.bound else "bars unlimited", *parts)


def _bar(name: str, quantity: Quantity | None, top: int, low: float, span: float) -> list[Markup]:
    middle = top + _BAR_HEIGHT / 2
    parts = [element("text", name, x="-10", y=middle, dy="0.34em", text_anchor="end", class_="tick")]
    if quantity:
        start, end = sorted((0.0, quantity.value))
        parts.append(
            element(
                "rect",
                element("title", f"{name}: {quantity.exact}"),
                x=percent((start - low) / span),
                y=top,
                width=percent((end - start) / span),
                height=_BAR_HEIGHT,
                rx=2,
                class_=name,
            )
        )
    parts.append(element("text", _said(quantity), x="100%", dx="10", y=middle, dy="0.34em", class_=f"value {name}"))
    return parts


def _said(quantity: Quantity | None) -> str:
    return quantity.text if quantity else "n/a"
