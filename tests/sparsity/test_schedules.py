"""Schedules: the formulas by hand, and the rules that hold for all of them."""

from __future__ import annotations

import math
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeprune.sparsity.schedules import (
    ConstantSchedule,
    CosineSchedule,
    ExponentialSchedule,
    IterativeSchedule,
    LinearSchedule,
    OneShotSchedule,
    PolynomialSchedule,
    Ramp,
    Schedule,
    TrainingLength,
    as_schedule,
)

pytestmark = pytest.mark.unit

TOTAL = 1000
LENGTH = TrainingLength(total_steps=TOTAL, steps_per_epoch=100)
UNKNOWN = TrainingLength(total_steps=None, steps_per_epoch=None)
RAMPS = (PolynomialSchedule, LinearSchedule, CosineSchedule, ExponentialSchedule)


def updates(ramp: Ramp, total: int) -> list[int]:
    return [step for step in range(total) if ramp.last_update(step) == step]


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        # a quarter, half and all of the way from 0 to 0.8
        (LinearSchedule(0.8, 100, 500), (0.2, 0.4, 0.8)),
        # 0.8 (1 - 0.75^3), 0.8 (1 - 0.5^3)
        (PolynomialSchedule(0.8, 100, 500), (0.4625, 0.7, 0.8)),
        # 0.8 (1 - 0.75^2), 0.8 (1 - 0.5^2)
        (PolynomialSchedule(0.8, 100, 500, power=2), (0.35, 0.6, 0.8)),
        # 0.8 (1 - cos 45 degrees) / 2, half way
        (CosineSchedule(0.8, 100, 500), (0.4 * (1 - math.sqrt(0.5)), 0.4, 0.8)),
        # density 1 -> 1/16: halved at each quarter
        (ExponentialSchedule(15 / 16, 100, 500), (1 / 2, 3 / 4, 15 / 16)),
    ],
)
def test_ramps_by_hand(schedule, expected):
    ramp = schedule.bind(LENGTH)
    assert [ramp.sparsity(step) for step in (200, 300, 500)] == pytest.approx(expected)
    assert ramp.sparsity(99) == ramp.sparsity(100) == 0
    assert ramp.final == ramp.sparsity(TOTAL - 1) == schedule.final_sparsity


@pytest.mark.parametrize(
    ("kind", "half_way"),
    # 0.5 -> 0.875; the density falls from 1/2 to 1/8, so half way it is 1/4
    [
        (LinearSchedule, 0.6875),
        (PolynomialSchedule, 0.875 - 0.375 / 8),
        (CosineSchedule, 0.6875),
        (ExponentialSchedule, 0.75),
    ],
)
def test_ramps_start_at_the_initial_sparsity(kind, half_way):
    ramp = kind(0.875, 100, 500, initial_sparsity=0.5).bind(LENGTH)
    assert ramp.sparsity(99) == 0
    assert ramp.sparsity(100) == 0.5
    assert ramp.sparsity(300) == pytest.approx(half_way)


def test_the_default_is_cubic_from_a_tenth_to_seven_tenths():
    ramp = PolynomialSchedule(0.9).bind(LENGTH)
    # 600 steps: an update every 6, so 101 with both ends
    assert updates(ramp, TOTAL) == list(range(100, 701, 6))
    assert ramp.sparsity(400) == pytest.approx(0.9 * (1 - 0.5**3))


def test_the_frequency_is_kept_and_the_end_is_an_update_too():
    ramp = LinearSchedule(0.5, 10, 30, frequency=8).bind(LENGTH)
    assert updates(ramp, TOTAL) == [10, 18, 26, 30]
    assert [ramp.sparsity(step) for step in (17, 18, 29, 30, 999)] == pytest.approx([0, 0.2, 0.4, 0.5, 0.5])


def test_a_short_ramp_is_updated_at_every_step():
    assert updates(LinearSchedule(0.5, 10, 13).bind(LENGTH), TOTAL) == [10, 11, 12, 13]


@pytest.mark.parametrize(
    ("begin", "end", "steps"),
    [
        (0, 1, (0, 999)),  # the ends of the training
        (0.0, 1.0, (0, 999)),
        (0.29, 0.57, (290, 570)),
        (2, 5.0, (2, 5)),  # steps
        (0.5, 900, (500, 900)),
    ],
)
def test_times_are_fractions_or_steps(begin, end, steps):
    found = updates(LinearSchedule(0.5, begin, end).bind(LENGTH), TOTAL)
    assert (found[0], found[-1]) == steps


def test_fractions_go_to_the_nearest_step():
    """As floats, 0.29 * 100 is 28.999999999999996."""
    assert updates(OneShotSchedule(0.5, at=0.29).bind(TrainingLength(100, None)), 100) == [29]


def test_fraction_one_takes_effect_before_the_last_step_of_a_short_training():
    ramp = LinearSchedule(0.5, 0, 1).bind(TrainingLength(3, None))
    assert [ramp.sparsity(step) for step in range(3)] == [0, 0.25, 0.5]


def test_begin_and_end_together_are_one_jump():
    ramp = CosineSchedule(0.5, 40, 40, initial_sparsity=0.1).bind(LENGTH)
    assert updates(ramp, TOTAL) == [40]
    assert (ramp.sparsity(39), ramp.sparsity(40)) == (0, 0.5)


def test_one_shot_is_one_update():
    ramp = OneShotSchedule(0.5, at=0.25).bind(LENGTH)
    assert updates(ramp, TOTAL) == [250]
    assert (ramp.sparsity(249), ramp.sparsity(250), ramp.final) == (0, 0.5, 0.5)
    assert ramp.last_update(249) is None


def test_constant_goes_on_to_the_end():
    ramp = ConstantSchedule(0.5, begin=30, frequency=400).bind(LENGTH)
    assert updates(ramp, TOTAL) == [30, 430, 830]
    assert {ramp.sparsity(step) for step in range(30, TOTAL)} == {0.5}
    assert ramp.sparsity(29) == 0


def test_constant_is_updated_about_a_hundred_times():
    assert updates(ConstantSchedule(0.5).bind(LENGTH), TOTAL) == list(range(0, 1000, 9))
    # of a training of unknown length: every 100 steps
    assert updates(ConstantSchedule(0.5).bind(UNKNOWN), 500) == [0, 100, 200, 300, 400]


def test_steps_need_no_length():
    ramp = LinearSchedule(0.5, 10, 30).bind(UNKNOWN)
    assert ramp.sparsity(20) == 0.25
    assert OneShotSchedule(0.5, at=7).bind(UNKNOWN).last_update(9) == 7


def test_iterative_pruning_takes_a_share_of_what_is_left():
    ramp = IterativeSchedule(0.5, fraction=0.2, every_epochs=2, begin=0).bind(LENGTH)
    # left: 0.8, 0.64, 0.512, and 0.4096 would be less than the 0.5 wanted
    assert updates(ramp, TOTAL) == [0, 200, 400, 600]
    assert [ramp.sparsity(step) for step in (0, 200, 400, 600)] == pytest.approx([0.2, 0.36, 0.488, 0.5])
    assert ramp.sparsity(199) == ramp.sparsity(0)


def test_iterative_pruning_begins_where_it_is_told():
    assert updates(IterativeSchedule(0.36, begin=150).bind(LENGTH), TOTAL) == [150, 250]
    assert updates(IterativeSchedule(0.36, begin=0.1).bind(LENGTH), TOTAL) == [100, 200]


@pytest.mark.parametrize(
    # 0.8^2 = 0.64 and 0.7^2 = 0.49 are exactly two rounds, though the latter's logarithms give a little more;
    # 0.1 is less than one round takes; 0.9^22 = 0.098, 0.9^21 = 0.109
    ("final", "fraction", "rounds"),
    [(0.36, 0.2, 2), (0.1, 0.2, 1), (0.0, 0.2, 1), (0.9, 0.1, 22), (0.51, 0.3, 2)],
)
def test_iterative_rounds(final, fraction, rounds):
    assert IterativeSchedule(final, fraction).rounds == rounds


def test_a_training_that_ends_too_early_warns_once():
    with pytest.warns(
        UserWarning, match=r"reaches a sparsity of 0\.400, not 0\.800: .* at step 99 of 0 to 99"
    ) as caught:
        ramp = LinearSchedule(0.8, 0, 198).bind(TrainingLength(100, None))
    assert len(caught) == 1
    # continued to the end, it is reached
    assert ramp.sparsity(198) == ramp.final == 0.8
    with pytest.warns(UserWarning, match=r"0\.360, not 0\.900"):
        IterativeSchedule(0.9).bind(TrainingLength(200, 100))


def test_a_miss_that_does_not_show_is_no_warning():
    """end=1000 means the end of the training to most people; the cubic ramp is within 1e-8 one step before."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        PolynomialSchedule(0.8, 0, TOTAL, frequency=1).bind(LENGTH)


def test_a_number_is_a_constant_schedule():
    assert as_schedule(0.5) == ConstantSchedule(0.5)
    schedule = LinearSchedule(0.5)
    assert as_schedule(schedule) is schedule


sparsities = st.floats(0, 1, exclude_max=True)


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    kind = draw(st.sampled_from([*RAMPS, ConstantSchedule, OneShotSchedule, IterativeSchedule]))
    initial, final = sorted([draw(sparsities), draw(sparsities)])
    begin, end = sorted([draw(st.floats(0, 1)), draw(st.floats(0, 1))])
    frequency = draw(st.none() | st.integers(1, 50))
    if kind is ConstantSchedule:
        return ConstantSchedule(final, begin, frequency)
    if kind is OneShotSchedule:
        return OneShotSchedule(final, begin)
    if kind is IterativeSchedule:
        return IterativeSchedule(final, draw(st.floats(0.01, 0.99)), draw(st.integers(1, 3)), begin)
    more = {"power": draw(st.floats(0.1, 8))} if kind is PolynomialSchedule else {}
    return kind(final, begin, end, initial_sparsity=initial, frequency=frequency, **more)


@pytest.mark.filterwarnings("ignore:this training reaches")
@given(schedule=schedules(), total=st.integers(1, 300), steps_per_epoch=st.integers(1, 100))
def test_every_schedule_keeps_the_rules(schedule, total, steps_per_epoch):
    ramp = schedule.bind(TrainingLength(total, steps_per_epoch))
    found = [ramp.sparsity(step) for step in range(total)]
    last = [ramp.last_update(step) for step in range(total)]
    assert ramp.final == schedule.final_sparsity
    assert all(0 <= sparsity <= ramp.final for sparsity in found)
    # rounding may turn a flat piece around by less than one weight in 10^12
    assert all(later >= earlier - 1e-12 for earlier, later in zip(found, found[1:], strict=False))
    for step, update in enumerate(last):
        if update is None:
            assert found[step] == 0
            assert step == 0 or last[step - 1] is None
        else:
            assert update <= step
            assert last[update] == update
            assert found[step] == found[update]
    # the training has an update, and all but iterative pruning reach their end in it
    assert last[-1] is not None
    if not isinstance(schedule, IterativeSchedule):
        assert found[-1] == schedule.final_sparsity
