"""Checks of what a schedule is given: sparsities, times and frequencies. All raise InputError."""

from __future__ import annotations

import math
import numbers
from typing import Any, TypeGuard

from edgeprune.errors import InputError


def is_number(value: Any) -> TypeGuard[float]:
    """True for a real number, also numpy's; False for a bool."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def received(value: Any) -> str:
    """`value` on one line, shortened for a message."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else text[:57] + "..."


def check_sparsity(name: str, value: Any) -> None:
    if is_number(value) and 0 <= value < 1:
        return
    hint = f"; did you mean {value / 100:g}?" if is_number(value) and 1 < value < 100 else ""
    raise InputError(f"{name} must be at least 0 and below 1 (0.9: 90 % zeros), received {received(value)}{hint}")


def check_initial(initial: Any, final: Any) -> None:
    """Both sparsities of a ramp, which must not fall."""
    check_sparsity("final_sparsity", final)
    check_sparsity("initial_sparsity", initial)
    if initial > final:
        raise InputError(
            f"initial_sparsity {initial:g} is above final_sparsity {final:g}; a ramp must not fall, so swap or lower it"
        )


def check_count(name: str, value: Any, what: str) -> None:
    """A whole number of 1 or more. what: what it counts."""
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < 1:
        raise InputError(f"{name} must be a whole number of {what} of at least 1, received {received(value)}")


def check_frequency(value: Any) -> None:
    if value is not None:
        check_count("frequency", value, "steps")


def check_time(name: str, value: Any) -> None:
    """A fraction of the training from 0 to 1, or a step: a whole number of 2 or more."""
    if not is_number(value) or not (0 <= value <= 1 or (value > 1 and math.isfinite(value) and value == int(value))):
        raise InputError(
            f"{name} must be a fraction of the training from 0 to 1, or a step (a whole number of 2 or more), "
            f"received {received(value)}"
        )


def check_order(begin: Any, end: Any) -> None:
    """Both times of a ramp. A fraction and a step can only be compared once the length of the training is known."""
    check_time("begin", begin)
    check_time("end", end)
    if is_fraction(begin) == is_fraction(end) and end < begin:
        raise InputError(ends_before(f"begin={begin:g}", f"end={end:g}"))


def ends_before(begin: str, end: str) -> str:
    return f"the schedule ends before it begins: {begin}, {end}; give an end at or after the begin"


def is_fraction(time: float) -> bool:
    return time <= 1
