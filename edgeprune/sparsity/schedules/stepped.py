"""Ramps whose updates are evenly spaced, and how fractions of a training become its steps."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

from edgeprune.errors import InputError
from edgeprune.sparsity.schedules.base import Ramp, TrainingLength
from edgeprune.sparsity.schedules.checks import is_fraction

# A ramp with frequency=None is updated about this often.
UPDATES = 100
# Between updates where the length of the training isn't known; TFMOT's default.
STEPS_IF_UNKNOWN = 100
# A final sparsity that is missed by less isn't worth a warning: it can't be seen in three digits.
VISIBLE = 0.0005


@dataclass(frozen=True)
class SteppedRamp:
    """Updates at `begin`, then every `frequency` steps, and exactly at `last`, after which the mask stays.

    last: None if updates go on to the end of the training.
    final: the sparsity from `last` on.
    target: the sparsity at an update step before `last`; it must not fall.
    """

    begin: int
    last: int | None
    frequency: int
    final: float
    target: Callable[[int], float]

    def sparsity(self, step: int) -> float:
        update = self.last_update(step)
        if update is None:
            return 0.0
        # Rounding must neither miss the final sparsity nor go beyond it.
        return self.final if update == self.last else min(self.target(update), self.final)

    def last_update(self, step: int) -> int | None:
        if step < self.begin:
            return None
        if self.last is not None and step >= self.last:
            return self.last
        return step - (step - self.begin) % self.frequency


def step_of(name: str, time: float, length: TrainingLength) -> int:
    """The step at a time that `check_time` has passed. Fraction 1 is the last step, whose update still takes effect."""
    if not is_fraction(time):
        return int(time)
    if time == 0:
        return 0
    if length.total_steps is None:
        raise InputError(
            f"{name}={time:g} is a fraction of a training whose length isn't known; give {name} as a step, or pass "
            "steps_per_epoch to fit"
        )
    return min(round(time * length.total_steps), length.total_steps - 1)


def within(name: str, begin: int, length: TrainingLength) -> int:
    """The step of the first update; raises InputError if the training has ended by then."""
    if length.total_steps is not None and begin >= length.total_steps:
        raise InputError(
            f"nothing would be pruned: the schedule begins at step {begin}, the training has the steps 0 to "
            f"{length.total_steps - 1}; give an earlier {name}, or train longer"
        )
    return begin


def begin_step(name: str, time: float, length: TrainingLength) -> int:
    """The step of the first update, from its time; raises InputError as `step_of` and `within`."""
    return within(name, step_of(name, time, length), length)


def steps_between(begin: int, end: int) -> int:
    """The frequency of a ramp that has none given: about 100 updates."""
    return max(1, (end - begin) // UPDATES)


def warn_if_short(ramp: Ramp, wanted: float, length: TrainingLength) -> None:
    """One warning if the training visibly ends below the wanted final sparsity."""
    if length.total_steps is None:
        return
    last = length.total_steps - 1
    reached = ramp.sparsity(last)
    if wanted - reached >= VISIBLE:
        warnings.warn(
            f"this training reaches a sparsity of {reached:.3f}, not {wanted:.3f}: the schedule's last update in it is "
            f"at step {ramp.last_update(last)} of 0 to {last}; end the schedule earlier, update more often, or train "
            "longer",
            stacklevel=3,
        )
