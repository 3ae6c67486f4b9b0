"""What a teacher adds to a student's loss: the choices, checked."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from edgeprune.errors import InputError, nearest

KINDS = ("auto", "classification", "regression")


@dataclass(frozen=True, eq=False)
class Distillation:
    """Training on (1 - weight) * own loss + weight * distillation loss.

    teacher: a built Keras model that takes the student's inputs and gives outputs of the same shapes.
    temperature: softens the outputs of classifiers, above 0. weight: 0 (the labels alone) to 1 (the teacher alone).
    kind: how outputs are compared; "auto" goes by the student's compiled loss, else by its last activation.

    Raises:
        InputError: a value out of range, or an unknown kind.
    """

    teacher: Any
    temperature: float = 4.0
    weight: float = 0.5
    kind: str = "auto"

    def __post_init__(self) -> None:
        check_strength(self.temperature, self.weight)
        if self.kind not in KINDS:
            raise InputError(f"unknown kind {self.kind!r}; {nearest(str(self.kind), KINDS)}")


def check_strength(temperature: Any, weight: Any, prefix: str = "") -> None:
    """Refuse a temperature or a weight out of range.

    Raises:
        InputError: names the value, as `prefix` + its name, what it was and what is allowed.
    """
    if not _is_number(temperature) or temperature <= 0:
        raise InputError(f"{prefix}temperature must be a number above 0, such as 4; got {temperature!r}")
    if not _is_number(weight) or not 0 <= weight <= 1:
        raise InputError(f"{prefix}weight must be a number from 0 to 1, such as 0.5; got {weight!r}")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
