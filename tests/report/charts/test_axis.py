"""Linear axes with round ticks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeprune.report.charts.axis import Axis, axis_over

pytestmark = pytest.mark.unit


def labels(axis: Axis) -> list[str]:
    return [axis.label(tick) for tick in axis.ticks]


@pytest.mark.parametrize(
    ("values", "scale", "expected"),
    [
        ((0.0, 10.0), 1, ["0", "2", "4", "6", "8", "10"]),
        ((1.3, 2.9), 1, ["1.0", "1.5", "2.0", "2.5", "3.0"]),
        ((0.86, 0.98), 100, ["85", "90", "95", "100"]),
        ((-0.4, 0.6), 1, ["-0.4", "-0.2", "0.0", "0.2", "0.4", "0.6"]),
        ((0.0, 4000.0), 1, ["0", "1000", "2000", "3000", "4000"]),
    ],
)
def test_ticks_are_round_and_hold_the_values(values: tuple[float, float], scale: float, expected: list[str]) -> None:
    assert labels(axis_over(values, scale=scale)) == expected


def test_one_value_still_gives_an_axis_around_it() -> None:
    axis = axis_over([5.0, 5.0])
    assert axis.low < 5.0 < axis.high


@given(st.lists(st.floats(min_value=-1e9, max_value=1e9), min_size=1, max_size=20), st.integers(3, 8))
def test_every_value_lies_on_the_axis_and_labels_are_distinct(values: list[float], count: int) -> None:
    axis = axis_over(values, count)
    assert all(-1e-6 <= axis.at(value) <= 1 + 1e-6 for value in values)
    assert 2 <= len(axis.ticks) <= count + 3
    assert len(set(labels(axis))) == len(axis.ticks)
