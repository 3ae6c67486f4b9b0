"""Callables as schedules, in the form of TFMOT's: asked step by step, without TensorFlow."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeprune.errors import InputError
from edgeprune.sparsity.schedules import TrainingLength, as_schedule

pytestmark = pytest.mark.unit

UNKNOWN = TrainingLength(None, None)


class EverySecondHundred:
    """Prunes at 200, 400, ... and counts how often it is asked."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __call__(self, step):
        assert step.dtype == np.int64
        self.asked.append(int(step))
        return np.bool_(step >= 200 and step % 200 == 0), np.float32(min(0.75, step / 800))


def test_a_callable_is_asked():
    ramp = as_schedule(EverySecondHundred()).bind(UNKNOWN)
    assert [ramp.last_update(step) for step in (0, 199, 200, 201, 399, 400)] == [None, None, 200, 200, 200, 400]
    assert [ramp.sparsity(step) for step in (0, 199, 200, 399, 400, 900)] == [0, 0, 0.25, 0.25, 0.5, 0.75]


def test_each_step_is_asked_once():
    schedule = EverySecondHundred()
    ramp = as_schedule(schedule).bind(UNKNOWN)
    schedule.asked.clear()
    for step in range(500):
        ramp.last_update(step)
        ramp.sparsity(step)
    assert schedule.asked == list(range(500))


def test_a_continued_training_looks_back_to_the_last_update():
    schedule = EverySecondHundred()
    ramp = as_schedule(schedule).bind(UNKNOWN)
    schedule.asked.clear()
    assert (ramp.last_update(1003), ramp.sparsity(1003)) == (1000, 0.75)
    assert schedule.asked == [1003, 1002, 1001, 1000]


@given(st.lists(st.integers(0, 60), max_size=20), st.sets(st.integers(0, 60)))
def test_the_answer_depends_on_the_step_only(steps, updates):
    ramp = as_schedule(lambda step: (int(step) in updates, min(0.9, step / 100))).bind(UNKNOWN)
    for step in steps:
        before = [update for update in updates if update <= step]
        assert ramp.last_update(step) == max(before, default=None)
        assert ramp.sparsity(step) == (max(before) / 100 if before else 0)


def test_the_final_sparsity_is_stated_or_asked_for():
    class Stated:
        target_sparsity = 0.5

        def __call__(self, step):
            return step < 1000, 0.25

    assert as_schedule(Stated()).final_sparsity == 0.5
    assert as_schedule(EverySecondHundred()).final_sparsity == 0.75
    assert as_schedule(EverySecondHundred()).bind(UNKNOWN).final == 0.75


@pytest.mark.parametrize(
    "schedule",
    [lambda step: 0.5, lambda: (True, 0.5), lambda step: (True, "high"), lambda step: None, len],
    ids=range(5),
)
def test_a_callable_with_another_answer(schedule):
    with pytest.raises(
        InputError, match=r"must answer \(prune now\?, sparsity\) when called with a step; at step 0 it"
    ):
        as_schedule(schedule)


def test_an_answer_that_is_no_sparsity():
    with pytest.raises(InputError, match="the sparsity that the schedule answers at step 0 must be .* received 1.5"):
        as_schedule(lambda step: (True, 1.5))
    ramp = as_schedule(lambda step: (True, 0.5 if step != 7 else float("nan"))).bind(UNKNOWN)
    with pytest.raises(InputError, match="at step 7 must be .* received nan"):
        ramp.last_update(7)
