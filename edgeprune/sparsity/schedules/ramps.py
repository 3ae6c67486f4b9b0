"""Schedules that jump to their final sparsity or ramp up to it.

Times (`begin`, `end`, `at`) are fractions of the whole training from 0 to 1 (1 is the last step), or steps: whole
numbers of 2 or more. Sparsities are at least 0 and below 1. A value that isn't allowed raises InputError when the
schedule is made.
"""

from __future__ import annotations

import abc
import math
from dataclasses import dataclass, field

from edgeprune.errors import InputError
from edgeprune.sparsity.schedules.base import Schedule, TrainingLength
from edgeprune.sparsity.schedules.checks import (
    check_frequency,
    check_initial,
    check_order,
    check_sparsity,
    check_time,
    ends_before,
    is_number,
    received,
)
from edgeprune.sparsity.schedules.stepped import (
    STEPS_IF_UNKNOWN,
    SteppedRamp,
    begin_step,
    step_of,
    steps_between,
    warn_if_short,
)


@dataclass(frozen=True)
class ConstantSchedule(Schedule):
    """The final sparsity from `begin` on; the mask is recomputed every `frequency` steps to the end of the training.

    frequency: None for about 100 times in all, or every 100 steps if the length of the training isn't known.
    """

    final_sparsity: float
    begin: float = 0
    frequency: int | None = None

    def __post_init__(self) -> None:
        check_sparsity("final_sparsity", self.final_sparsity)
        check_time("begin", self.begin)
        check_frequency(self.frequency)

    def bind(self, length: TrainingLength) -> SteppedRamp:
        begin, final = begin_step("begin", self.begin, length), float(self.final_sparsity)
        if self.frequency is not None:
            frequency = self.frequency
        elif length.total_steps is not None:
            frequency = steps_between(begin, length.total_steps - 1)
        else:
            frequency = STEPS_IF_UNKNOWN
        return SteppedRamp(begin, None, frequency, final, lambda step: final)


@dataclass(frozen=True)
class OneShotSchedule(Schedule):
    """One update to the final sparsity, at the time `at`."""

    final_sparsity: float
    at: float = 0

    def __post_init__(self) -> None:
        check_sparsity("final_sparsity", self.final_sparsity)
        check_time("at", self.at)

    def bind(self, length: TrainingLength) -> SteppedRamp:
        at, final = begin_step("at", self.at, length), float(self.final_sparsity)
        return SteppedRamp(at, at, 1, final, lambda step: final)


@dataclass(frozen=True)
class _RampSchedule(Schedule):
    """From the initial sparsity at `begin` to the final one at `end`, which are both updates; the mask stays after it.

    frequency: steps between updates; None for about 100 updates in all.
    """

    final_sparsity: float
    begin: float = 0.1
    end: float = 0.7
    initial_sparsity: float = field(default=0.0, kw_only=True)
    frequency: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        check_initial(self.initial_sparsity, self.final_sparsity)
        check_order(self.begin, self.end)
        check_frequency(self.frequency)

    @abc.abstractmethod
    def curve(self, progress: float) -> float:
        """The sparsity at a progress from 0 (`begin`) to 1 (`end`)."""

    def bind(self, length: TrainingLength) -> SteppedRamp:
        begin, end = begin_step("begin", self.begin, length), step_of("end", self.end, length)
        if end < begin:
            raise InputError(ends_before(f"begin={self.begin:g} is step {begin}", f"end={self.end:g} is step {end}"))
        ramp = SteppedRamp(
            begin,
            end,
            steps_between(begin, end) if self.frequency is None else self.frequency,
            float(self.final_sparsity),
            lambda step: self.curve((step - begin) / (end - begin)),
        )
        warn_if_short(ramp, self.final_sparsity, length)
        return ramp

    def _between(self, share: float) -> float:
        """The sparsity that lies `share` of the way from the initial to the final one."""
        return self.initial_sparsity + (self.final_sparsity - self.initial_sparsity) * share


@dataclass(frozen=True)
class PolynomialSchedule(_RampSchedule):
    """Fast at first, slower as fewer weights are left: final + (initial - final) (1 - progress)^power.

    Zhu & Gupta 2017, "To prune, or not to prune", with power 3.
    """

    power: float = field(default=3, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not is_number(self.power) or not 0 < self.power < math.inf:
            raise InputError(f"power must be a number above 0 (3 is usual), received {received(self.power)}")

    def curve(self, progress: float) -> float:
        return self._between(1 - math.pow(1 - progress, self.power))


@dataclass(frozen=True)
class LinearSchedule(_RampSchedule):
    """The same number of weights at each update: initial + (final - initial) progress."""

    def curve(self, progress: float) -> float:
        return self._between(progress)


@dataclass(frozen=True)
class CosineSchedule(_RampSchedule):
    """Slow at both ends: final + (initial - final) (1 + cos(pi progress)) / 2.

    The cosine annealing of Loshchilov & Hutter 2017 ("SGDR"), of the sparsity instead of the learning rate.
    """

    def curve(self, progress: float) -> float:
        return self._between((1 - math.cos(math.pi * progress)) / 2)


@dataclass(frozen=True)
class ExponentialSchedule(_RampSchedule):
    """The density decays exponentially: 1 - (1 - initial) ((1 - final) / (1 - initial))^progress.

    Each update takes the same share of the weights that are left, as iterative pruning does (Han et al. 2015).
    """

    def curve(self, progress: float) -> float:
        density = 1 - self.initial_sparsity
        return 1 - density * math.pow((1 - self.final_sparsity) / density, progress)
