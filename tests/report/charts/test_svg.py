"""Writing escaped SVG elements."""

from __future__ import annotations

import pytest
from markupsafe import Markup

from edgeprune.report.charts.svg import anchor, element, percent

pytestmark = pytest.mark.unit


def test_text_and_attributes_are_escaped_and_markup_is_kept() -> None:
    inner = element("title", "a < b")
    assert element("text", "<b>", inner, class_='x" onload="y', text_anchor="end", dx=None) == Markup(
        '<text class="x&#34; onload=&#34;y" text-anchor="end">&lt;b&gt;<title>a &lt; b</title></text>'
    )


@pytest.mark.parametrize(("share", "length"), [(0.25, "25.00%"), (-0.1, "0.00%"), (1.2, "100.00%")])
def test_lengths_stay_within_the_drawing(share: float, length: str) -> None:
    assert percent(share) == length


@pytest.mark.parametrize(("share", "side"), [(0.1, "start"), (0.5, "middle"), (0.9, "end")])
def test_labels_lean_inwards(share: float, side: str) -> None:
    assert anchor(share) == side
