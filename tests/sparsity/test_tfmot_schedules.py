"""TFMOT's schedules: the oracle is the TFMOT object itself, called at every step."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_optimization as tfmot

from edgeprune.errors import InputError
from edgeprune.sparsity.schedules import Ramp, TrainingLength, as_schedule
from edgeprune.sparsity.schedules.tfmot import AskedSchedule, TfmotSchedule

pytestmark = pytest.mark.keras

ConstantSparsity = tfmot.sparsity.keras.ConstantSparsity
PolynomialDecay = tfmot.sparsity.keras.PolynomialDecay
UNKNOWN = TrainingLength(None, None)


def answers(schedule, steps: int) -> tuple[list[int | None], list[float]]:
    """What `Ramp` should answer at each step: the newest step that TFMOT prunes at, and TFMOT's sparsity there."""
    update, sparsity = None, 0.0
    updates, sparsities = [], []
    for step in range(steps):
        now, wanted = schedule(tf.constant(step, tf.int64))
        if bool(now):
            update, sparsity = step, float(wanted)
        updates.append(update)
        sparsities.append(sparsity)
    return updates, sparsities


def assert_equal(ramp: Ramp, schedule, steps: int) -> None:
    updates, sparsities = answers(schedule, steps)
    assert [ramp.last_update(step) for step in range(steps)] == updates
    # TFMOT computes in float32
    assert [ramp.sparsity(step) for step in range(steps)] == pytest.approx(sparsities, abs=1e-6)


@pytest.mark.parametrize(
    "schedule",
    [
        PolynomialDecay(0.0, 0.9, 10, 90, frequency=10),
        PolynomialDecay(0.25, 0.8, 7, 88, power=1, frequency=9),
        PolynomialDecay(0.5, 0.8, 0, 50, power=2.5, frequency=7),  # the end isn't an update: 49 is the last
        PolynomialDecay(0.0, 0.8, 5, 60),  # the default frequency of 100: one update, at sparsity 0
        PolynomialDecay(0.5, 0.5, 1, 50, frequency=np.int32(4)),
        ConstantSparsity(0.5, 0),
        ConstantSparsity(0.5, 1, frequency=3),
        ConstantSparsity(0.5, 20, 60, frequency=7),
        ConstantSparsity(0.5, 20, end_step=20, frequency=7),
        ConstantSparsity(0.5, 20, end_step=-1, frequency=30),
    ],
    ids=lambda schedule: " ".join(str(value) for value in schedule.get_config()["config"].values()),
)
def test_the_known_schedules_answer_as_tfmot(schedule):
    read = as_schedule(schedule)
    assert isinstance(read, TfmotSchedule)
    assert_equal(read.bind(UNKNOWN), schedule, 120)


def test_reading_costs_no_tensorflow_call(monkeypatch):
    schedule = PolynomialDecay(0.0, 0.9, 10, 90, frequency=10)
    monkeypatch.setattr(PolynomialDecay, "__call__", None)
    assert as_schedule(schedule).bind(UNKNOWN).sparsity(90) == 0.9


def test_a_subclass_is_asked():
    class Twice(PolynomialDecay):
        """The final sparsity already half way."""

        def __call__(self, step):
            return super().__call__(step * 2)

    schedule = Twice(0.0, 0.9, 10, 90, frequency=4)
    read = as_schedule(schedule)
    assert isinstance(read, AskedSchedule)
    assert read.final_sparsity == 0.9
    assert_equal(read.bind(UNKNOWN), schedule, 60)


def test_a_schedule_of_ones_own_is_asked():
    class Stairs(tfmot.sparsity.keras.PruningSchedule):
        def __call__(self, step):
            now = self._should_prune_in_step(step, 6, 30, 6)
            return now, tf.where(tf.cast(step, tf.float32) < 15.0, 0.25, 0.5)

        def get_config(self):
            return {"class_name": "Stairs", "config": {}}

    schedule = Stairs()
    read = as_schedule(schedule)
    assert read.final_sparsity == 0.5
    assert_equal(read.bind(TrainingLength(50, None)), schedule, 50)


def test_an_end_that_is_no_update_warns():
    """Updates at 0, 40, 80: at 80 of 90 the sparsity is 0.9 (1 - (1/9)^1)."""
    schedule = as_schedule(PolynomialDecay(0.0, 0.9, 0, 90, power=1, frequency=40))
    with pytest.warns(UserWarning, match=r"reaches a sparsity of 0\.800, not 0\.900: .* at step 80 of 0 to 199"):
        ramp = schedule.bind(TrainingLength(200, None))
    assert ramp.final == ramp.sparsity(199) == pytest.approx(0.8)


@pytest.mark.filterwarnings("error")
def test_an_end_at_the_number_of_steps_is_reached():
    """TFMOT's wrappers count from 1, so end_step = steps * epochs is their last train step; ours is one less."""
    ramp = as_schedule(PolynomialDecay(0.0, 0.9, 0, 200, frequency=100)).bind(TrainingLength(200, None))
    assert [ramp.last_update(step) for step in (99, 100, 198, 199)] == [0, 100, 100, 199]
    assert ramp.sparsity(199) == ramp.final == 0.9


def test_one_jump_is_the_final_sparsity():
    """TFMOT divides by zero here."""
    schedule = PolynomialDecay(0.0, 0.9, 10, 10)
    assert np.isnan(schedule(tf.constant(10, tf.int64))[1])
    ramp = as_schedule(schedule).bind(UNKNOWN)
    assert (ramp.sparsity(9), ramp.sparsity(10), ramp.last_update(500)) == (0, 0.9, 10)


@pytest.mark.filterwarnings("ignore:this training reaches")
def test_a_begin_after_the_training():
    schedule = as_schedule(PolynomialDecay(0.0, 0.9, 1, 10))
    schedule.bind(TrainingLength(2, None))
    with pytest.raises(InputError, match="nothing would be pruned: the schedule begins at step 1"):
        schedule.bind(TrainingLength(1, None))


def test_what_tfmot_takes_but_can_not_use():
    with pytest.raises(InputError, match=r"end_step of the TFMOT schedule must be a whole number .* received 90\.5"):
        as_schedule(PolynomialDecay(0.0, 0.9, 10, 90.5))
    with pytest.raises(InputError, match=r"initial_sparsity 0\.9 is above final_sparsity 0\.5"):
        as_schedule(PolynomialDecay(0.9, 0.5, 10, 90))
    with pytest.raises(InputError, match="power must be a number above 0"):
        as_schedule(PolynomialDecay(0.0, 0.5, 10, 90, power=0))
    with pytest.raises(InputError, match="schedule must be a schedule such as"):
        as_schedule(PolynomialDecay)
