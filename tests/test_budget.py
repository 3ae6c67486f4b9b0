"""Budgets: which limits are possible."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgeprune.errors import InputError
from edgeprune.target import Budget, check_budget

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    "limits",
    [
        {"latency_ms": 12},
        {"size_kb": np.float32(0.5), "ram_kb": np.int64(3)},
        {"latency_ratio": 1, "max_accuracy_drop": 0, "size_ratio": 1e-9},
        {},
    ],
)
def test_possible_budgets_come_back_as_floats(limits: dict[str, float]) -> None:
    checked = check_budget(Budget(**limits), "test")
    assert {name: value for name, value in vars(checked).items() if value is not None} == pytest.approx(limits)
    assert all(type(value) in (float, type(None)) for value in vars(checked).values())


NAN_AND_SUCH = [0, -1, math.nan, math.inf, -math.inf, True, False, "12", [1], 10**400]


@pytest.mark.parametrize(
    "value", [*NAN_AND_SUCH, np.float32("nan"), np.bool_(True)], ids=lambda value: repr(value)[:12]
)
@pytest.mark.parametrize("name", ["latency_ms", "size_kb", "ram_kb", "latency_ratio", "size_ratio", "ram_ratio"])
def test_impossible_limits(name: str, value: object) -> None:
    with pytest.raises(InputError, match=f"^command line: {name} must be a (number|ratio) above 0.*, received "):
        check_budget(Budget(**{name: value}), "command line")  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [-0.01, *NAN_AND_SUCH[2:]], ids=lambda value: repr(value)[:12])
def test_impossible_accuracy_drops(value: object) -> None:
    with pytest.raises(InputError, match="max_accuracy_drop must be a number of at least 0"):
        check_budget(Budget(max_accuracy_drop=value), "command line")  # type: ignore[arg-type]


def test_ratios_end_at_one() -> None:
    check_budget(Budget(latency_ratio=1.0), "x")
    with pytest.raises(InputError, match="at most 1"):
        check_budget(Budget(latency_ratio=math.nextafter(1, 2)), "x")
