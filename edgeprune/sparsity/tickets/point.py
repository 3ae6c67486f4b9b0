"""The point of training that a ticket is rewound to."""

from __future__ import annotations

import numbers
import re
from dataclasses import dataclass
from typing import Any

from edgeprune.errors import InputError
from edgeprune.sparsity.schedules.checks import received


@dataclass(frozen=True)
class RewindPoint:
    """unit: "init", "epoch" or "step". number: how many of them the dense training has done there, 0 for "init"."""

    unit: str
    number: int

    @property
    def late(self) -> bool:
        """Whether the point is inside the training, so that its state must be kept while the dense model is trained."""
        return self.unit != "init"

    def __str__(self) -> str:
        return f"{self.unit}:{self.number}" if self.late else self.unit


def parse_point(value: Any) -> RewindPoint:
    """ "init", "epoch:K", "step:K" or a step; K = 0 is "init".

    Raises:
        InputError: it is none of these.
    """
    unit, number = "", -1
    if value == "init":
        return RewindPoint("init", 0)
    if isinstance(value, str) and (found := re.fullmatch(r"(epoch|step):([0-9]{1,12})", value)):
        unit, number = found[1], int(found[2])
    elif isinstance(value, numbers.Integral) and not isinstance(value, bool):
        unit, number = "step", int(value)
    if number < 0:
        raise InputError(
            f'find_ticket: rewind_to must be "init", "epoch:K" such as "epoch:1", "step:K" or a step of 0 or more. '
            f"Received: {received(value)}"
        )
    return RewindPoint(unit, number) if number else RewindPoint("init", 0)
