"""Schedules of the TensorFlow Model Optimization Toolkit (TFMOT), accepted as they are and without importing it.

A TFMOT schedule is called with a step and answers (prune now?, sparsity). `PolynomialDecay` and `ConstantSparsity` are
read from their configuration, so that a step costs no TensorFlow call (tensorflow_model_optimization 0.8.1,
python/core/sparsity/keras/pruning_schedule.py). Any other callable with that answer is asked step by step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeprune.errors import InputError
from edgeprune.sparsity.schedules.base import Schedule, TrainingLength
from edgeprune.sparsity.schedules.checks import check_frequency, check_initial, check_sparsity, is_number, received
from edgeprune.sparsity.schedules.stepped import SteppedRamp, warn_if_short, within

# A step after the end of any training: the largest int32.
LATE = 2**31 - 1


def from_tfmot(schedule: Callable[[Any], Any]) -> Schedule:
    """The same schedule as one of ours.

    Raises:
        InputError: if a call doesn't answer (bool, sparsity from 0 to below 1).
    """
    kind = type(schedule)
    # These very classes only: a subclass may answer otherwise, so it is asked.
    if kind.__module__.partition(".")[0] == "tensorflow_model_optimization":
        if kind.__name__ == "PolynomialDecay":
            return _read(schedule, "initial_sparsity", "final_sparsity")
        if kind.__name__ == "ConstantSparsity":
            return _read(schedule, "target_sparsity", "target_sparsity")
    _ask(schedule, 0)
    for name in ("final_sparsity", "target_sparsity"):
        if is_number(stated := getattr(schedule, name, None)):
            return AskedSchedule(stated, schedule)
    return AskedSchedule(_ask(schedule, LATE)[1], schedule)


@dataclass(frozen=True)
class TfmotSchedule(Schedule):
    """`PolynomialDecay`, or `ConstantSparsity` with the same initial and final sparsity.

    Updates are at begin_step + k * frequency up to and including end_step (None: to the end of the training). Where
    end_step isn't among them, the final sparsity is never reached, as in TFMOT; `bind` warns if the difference shows.

    Two differences from the answers of the TFMOT object: TFMOT's wrappers count train steps from 1, so an update at
    total_steps, which is their last train step, is made before the last train step here. And where end_step equals
    begin_step the sparsity is the final one, not NaN.
    """

    initial_sparsity: float
    final_sparsity: float
    begin_step: int
    end_step: int | None
    power: float
    frequency: int

    def __post_init__(self) -> None:
        check_initial(self.initial_sparsity, self.final_sparsity)
        check_frequency(self.frequency)
        if not is_number(self.power) or not self.power > 0:
            raise InputError(f"power must be a number above 0 (3 is usual), received {received(self.power)}")

    def bind(self, length: TrainingLength) -> SteppedRamp:
        begin = within("begin_step", self.begin_step, length)
        last = None if self.end_step is None else self.end_step - (self.end_step - begin) % self.frequency
        final = float(self.final_sparsity) if last is None else self._target(last)
        if last is not None and last == length.total_steps:
            last -= 1
        ramp = SteppedRamp(begin, last, self.frequency, final, self._target)
        warn_if_short(ramp, self.final_sparsity, length)
        return ramp

    def _target(self, step: int) -> float:
        if self.end_step is None or step >= self.end_step:
            return float(self.final_sparsity)
        progress = (step - self.begin_step) / (self.end_step - self.begin_step)
        missing = (self.final_sparsity - self.initial_sparsity) * (1 - progress) ** self.power
        return float(self.final_sparsity - missing)


@dataclass(frozen=True)
class AskedSchedule(Schedule):
    """A callable step -> (prune now?, sparsity). Nothing is known of it but its answers.

    final_sparsity: its own attribute `final_sparsity` or `target_sparsity`, else what it answers long after training.
    """

    final_sparsity: float
    schedule: Callable[[Any], Any]

    def __post_init__(self) -> None:
        check_sparsity("final_sparsity", self.final_sparsity)

    def bind(self, length: TrainingLength) -> AskedRamp:
        return AskedRamp(self.final_sparsity, self.schedule)


class AskedRamp:
    """Asks once per step that goes by. The first question at a later step looks back until it finds an update."""

    def __init__(self, final: float, schedule: Callable[[Any], Any]) -> None:
        self.final = final
        self._schedule = schedule
        self._asked = -1  # the step that the next two are the answer for
        self._update: int | None = None
        self._sparsity = 0.0

    def sparsity(self, step: int) -> float:
        self._look(step)
        return self._sparsity

    def last_update(self, step: int) -> int | None:
        self._look(step)
        return self._update

    def _look(self, step: int) -> None:
        if step == self._asked:
            return
        if step < self._asked:
            self._asked, self._update, self._sparsity = -1, None, 0.0
        for earlier in range(step, self._asked, -1):
            now, sparsity = _ask(self._schedule, earlier)
            if now:
                self._update, self._sparsity = earlier, sparsity
                break
        self._asked = step


def _read(schedule: Any, initial: str, final: str) -> TfmotSchedule:
    """A `PolynomialDecay` or `ConstantSparsity`; initial, final: the keys of its sparsities."""
    config = schedule.get_config()["config"]
    end = _whole("end_step", config["end_step"])
    return TfmotSchedule(
        config[initial],
        config[final],
        _whole("begin_step", config["begin_step"]),
        None if end == -1 else end,
        config.get("power", 3),
        _whole("frequency", config["frequency"]),
    )


def _whole(name: str, value: Any) -> int:
    """A step as an int: whole floats, as np.ceil gives, are steps too."""
    if not is_number(value) or value % 1 != 0:
        raise InputError(f"{name} of the TFMOT schedule must be a whole number of steps, received {received(value)}")
    return int(value)


def _ask(schedule: Callable[[Any], Any], step: int) -> tuple[bool, float]:
    """What a schedule answers at one step, as Python values."""
    try:
        # As TFMOT, which passes an int64 tensor: unlike an int it has a dtype.
        now, sparsity = schedule(np.int64(step))
        answer = bool(now), float(sparsity)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"the schedule {received(schedule)} must answer (prune now?, sparsity) when called with a step; at step "
            f"{step} it failed: {' '.join(str(error).split())}"
        ) from error
    check_sparsity(f"the sparsity that the schedule answers at step {step}", answer[1])
    return answer
