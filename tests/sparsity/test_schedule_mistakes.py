"""Schedules that can't be: one line that says what is wrong and what to give."""

from __future__ import annotations

import numpy as np
import pytest

from edgeprune.errors import InputError
from edgeprune.sparsity.schedules import (
    ConstantSchedule,
    CosineSchedule,
    ExponentialSchedule,
    IterativeSchedule,
    LinearSchedule,
    OneShotSchedule,
    PolynomialSchedule,
    TrainingLength,
    as_schedule,
)

pytestmark = pytest.mark.unit

ALL = (
    ConstantSchedule,
    OneShotSchedule,
    PolynomialSchedule,
    LinearSchedule,
    CosineSchedule,
    ExponentialSchedule,
    IterativeSchedule,
)
RAMPS = (PolynomialSchedule, LinearSchedule, CosineSchedule, ExponentialSchedule)
NOT_TIMES = [-1, -0.1, 1.5, 10.5, float("nan"), float("inf"), True, "0.5", None, np.array([1, 2])]


def refused(make) -> str:
    with pytest.raises(InputError) as caught:
        make()
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("value", [1, 1.0, -0.1, 90, float("nan"), float("inf"), True, "0.9", None, [0.5]], ids=repr)
def test_final_sparsity(kind, value):
    assert refused(lambda: kind(value)).startswith("final_sparsity must be at least 0 and below 1")


def test_a_percentage_gets_a_hint():
    message = refused(lambda: PolynomialSchedule(90))
    assert message.endswith("received 90; did you mean 0.9?")


@pytest.mark.parametrize("kind", RAMPS)
def test_initial_sparsity(kind):
    assert "initial_sparsity must be" in refused(lambda: kind(0.5, initial_sparsity=-0.5))
    message = refused(lambda: kind(0.5, initial_sparsity=0.6))
    assert message.startswith("initial_sparsity 0.6 is above final_sparsity 0.5")


@pytest.mark.parametrize("value", NOT_TIMES, ids=repr)
def test_times(value):
    for make in (
        lambda: ConstantSchedule(0.5, begin=value),
        lambda: LinearSchedule(0.5, begin=value),
        lambda: IterativeSchedule(0.5, begin=value),
    ):
        assert refused(make).startswith("begin must be a fraction of the training from 0 to 1, or a step")
    assert refused(lambda: LinearSchedule(0.5, end=value)).startswith("end must be")
    assert refused(lambda: OneShotSchedule(0.5, at=value)).startswith("at must be")


@pytest.mark.parametrize("kind", RAMPS)
@pytest.mark.parametrize(("begin", "end"), [(0.7, 0.1), (500, 100), (1.0, 0)])
def test_an_end_before_the_begin(kind, begin, end):
    assert refused(lambda: kind(0.5, begin, end)).startswith("the schedule ends before it begins")


def test_an_end_before_the_begin_in_other_units_shows_when_bound():
    schedule = LinearSchedule(0.5, begin=0.5, end=100)
    message = refused(lambda: schedule.bind(TrainingLength(1000, None)))
    assert message.startswith("the schedule ends before it begins: begin=0.5 is step 500, end=100 is step 100")
    schedule.bind(TrainingLength(150, None))  # step 75


@pytest.mark.parametrize("value", [0, -1, 1.5, 2.0, True, "2"], ids=repr)
def test_frequency(value):
    assert "frequency must be a whole number" in refused(lambda: ConstantSchedule(0.5, frequency=value))
    assert "frequency must be a whole number" in refused(lambda: LinearSchedule(0.5, frequency=value))


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), True, "3"], ids=repr)
def test_power(value):
    assert refused(lambda: PolynomialSchedule(0.5, power=value)).startswith("power must be a number above 0")


@pytest.mark.parametrize("value", [0, 1, -0.2, 20, float("nan"), "0.2"], ids=repr)
def test_fraction(value):
    assert refused(lambda: IterativeSchedule(0.5, fraction=value)).startswith("fraction must be above 0 and below 1")


@pytest.mark.parametrize("value", [0, 0.5, -1, True], ids=repr)
def test_every_epochs(value):
    assert refused(lambda: IterativeSchedule(0.5, every_epochs=value)).startswith("every_epochs must be a whole number")


@pytest.mark.parametrize(
    ("schedule", "name"),
    [
        (LinearSchedule(0.5, 0.1, 500), "begin=0.1"),
        (LinearSchedule(0.5, 5, 0.7), "end=0.7"),
        (OneShotSchedule(0.5, 1), "at=1"),
    ],
)
def test_a_fraction_of_an_unknown_length(schedule, name):
    message = refused(lambda: schedule.bind(TrainingLength(None, 100)))
    assert message.startswith(f"{name} is a fraction of a training whose length isn't known")
    assert "as a step" in message
    assert "steps_per_epoch" in message


@pytest.mark.parametrize(
    "schedule",
    [
        ConstantSchedule(0.5, 100),
        OneShotSchedule(0.5, 100),
        LinearSchedule(0.5, 100, 500),
        IterativeSchedule(0.5, begin=100),
    ],
)
def test_a_begin_after_the_training(schedule):
    message = refused(lambda: schedule.bind(TrainingLength(100, 10)))
    assert message.startswith(
        "nothing would be pruned: the schedule begins at step 100, the training has the steps 0 to 99"
    )
    schedule.bind(TrainingLength(None, 10))


def test_iterative_pruning_needs_the_steps_of_an_epoch():
    message = refused(lambda: IterativeSchedule(0.5).bind(TrainingLength(1000, None)))
    assert message.startswith("every_epochs=1 needs the number of steps per epoch")


@pytest.mark.parametrize(
    "value", [None, "polynomial", True, [0.5], PolynomialSchedule, {"final_sparsity": 0.5}], ids=repr
)
def test_what_is_no_schedule(value):
    assert refused(lambda: as_schedule(value)).startswith("schedule must be a schedule such as")


def test_a_number_that_is_no_sparsity():
    assert refused(lambda: as_schedule(80)).endswith("did you mean 0.8?")
