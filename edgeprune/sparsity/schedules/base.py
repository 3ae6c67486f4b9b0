"""The interface of schedules: a schedule is bound to a training and becomes a ramp over its steps.

Steps are 0-based and count the whole training. The update of step s happens before train step s runs.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import Any, Protocol

from edgeprune.errors import InputError
from edgeprune.sparsity.schedules.checks import is_number, received


@dataclass(frozen=True)
class TrainingLength:
    """How long a training is. total_steps: train steps of all epochs; each is None where it isn't known."""

    total_steps: int | None
    steps_per_epoch: int | None


class Ramp(Protocol):
    """A schedule bound to a training. Its answers depend on the step only, so a continued training goes on as it was.

    final: the sparsity after the last update.
    """

    @property
    def final(self) -> float: ...

    def sparsity(self, step: int) -> float:
        """The target in effect at `step`: that of the last update at or before it, 0 before the first."""
        ...

    def last_update(self, step: int) -> int | None:
        """The newest step at or before `step` at which the mask is recomputed; None before the first."""
        ...


class Schedule(abc.ABC):
    """What all schedules share. final_sparsity: the share of zeros at the end, at least 0 and below 1."""

    final_sparsity: float

    @abc.abstractmethod
    def bind(self, length: TrainingLength) -> Ramp:
        """The ramp over the steps of one training.

        Warns if the training ends before the final sparsity is reached. Raises InputError if nothing would be pruned,
        or if the schedule needs a length that isn't known.
        """


def as_schedule(value: Any) -> Schedule:
    """A schedule from what users may give.

    Accepted are a `Schedule`, a number from 0 to below 1 (`ConstantSchedule` from the first step on), a
    `PruningSchedule` of the TensorFlow Model Optimization Toolkit (TFMOT), and any other callable
    step -> (prune now?, sparsity).

    Raises:
        InputError: for anything else.
    """
    # The kinds of schedules import this module.
    from edgeprune.sparsity.schedules.ramps import ConstantSchedule
    from edgeprune.sparsity.schedules.tfmot import from_tfmot

    if isinstance(value, Schedule):
        return value
    if is_number(value):
        return ConstantSchedule(float(value))
    if callable(value) and not isinstance(value, type):
        return from_tfmot(value)
    raise InputError(
        "schedule must be a schedule such as PolynomialSchedule(0.9), a sparsity such as 0.9, or a TFMOT "
        f"PruningSchedule, received {received(value)}"
    )
