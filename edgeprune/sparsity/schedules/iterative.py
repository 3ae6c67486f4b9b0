"""Iterative magnitude pruning as a schedule: prune, train on, prune again."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgeprune.errors import InputError
from edgeprune.sparsity.schedules.base import Schedule, TrainingLength
from edgeprune.sparsity.schedules.checks import check_count, check_sparsity, check_time, is_number, received
from edgeprune.sparsity.schedules.stepped import SteppedRamp, begin_step, warn_if_short


@dataclass(frozen=True)
class IterativeSchedule(Schedule):
    """Prunes `fraction` of the weights that are left every `every_epochs` epochs, until the final sparsity is reached.

    Round r = 0, 1, ... is at `begin` + r * every_epochs epochs and has the sparsity 1 - (1 - fraction)^(r + 1); the
    last round has the final sparsity exactly, so it may take less. Han et al. 2015, "Learning both weights and
    connections"; Frankle & Carbin 2019, "The lottery ticket hypothesis" (there with rewinding).

    begin: the first round: a fraction of the training from 0 to 1, or a step (a whole number of 2 or more).

    Raises:
        InputError: for a value that isn't allowed; on `bind`, if the steps per epoch aren't known.
    """

    final_sparsity: float
    fraction: float = 0.2
    every_epochs: int = 1
    begin: float = 0

    def __post_init__(self) -> None:
        check_sparsity("final_sparsity", self.final_sparsity)
        if not is_number(self.fraction) or not 0 < self.fraction < 1:
            raise InputError(
                f"fraction must be above 0 and below 1 (0.2: 20 % of what is left), received {received(self.fraction)}"
            )
        check_count("every_epochs", self.every_epochs, "epochs")
        check_time("begin", self.begin)

    @property
    def rounds(self) -> int:
        """How many rounds there are, at least one."""
        exact = math.log1p(-self.final_sparsity) / math.log1p(-self.fraction)
        # 36 % at 20 % a round are two rounds, even if the logarithms give 2.0000000000000004.
        return max(1, math.ceil(exact - 1e-9))

    def bind(self, length: TrainingLength) -> SteppedRamp:
        begin = begin_step("begin", self.begin, length)
        if length.steps_per_epoch is None:
            raise InputError(
                f"every_epochs={self.every_epochs} needs the number of steps per epoch, which isn't known; pass "
                "steps_per_epoch to fit, or use a schedule that is given in steps"
            )
        interval = self.every_epochs * length.steps_per_epoch
        ramp = SteppedRamp(
            begin,
            begin + (self.rounds - 1) * interval,
            interval,
            float(self.final_sparsity),
            lambda step: 1 - (1 - self.fraction) ** ((step - begin) // interval + 1),
        )
        warn_if_short(ramp, self.final_sparsity, length)
        return ramp
