"""Times against this host's clock: 1 % and half a second of room, and not more."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeprune.device.ssh.plausible import check_times
from edgeprune.errors import DeviceError

pytestmark = pytest.mark.unit


@given(st.lists(st.tuples(st.floats(0.01, 60), st.floats(0, 30)), min_size=1, max_size=8), st.floats(0, 5))
def test_what_a_run_can_have_measured_is_believed(rounds, before):
    """Each round takes its time; it may arrive late, but never before the one in front of it."""
    now, here, arrivals = before, 0.0, []
    for secs, late in rounds:
        now += secs
        here = max(here, now + late)
        arrivals.append(here)
    check_times([secs * 1000 for secs, _ in rounds], arrivals, "pi@board")


@pytest.mark.parametrize(
    ("sums_ms", "waited_secs", "said"),
    [
        ([1511.0], [1.0], "1.5 s of invokes in 1.0 s"),  # 1.0 * 1.01 + 0.5 is 1.51
        ([900.0, 900.0], [1.0, 1.2], "1.8 s of invokes in 1.2 s"),
        ([float("nan")], [1.0], "nan s of invokes in 1.0 s"),
    ],
)
def test_more_time_than_has_passed_is_refused(sums_ms, waited_secs, said):
    with pytest.raises(DeviceError, match=f"the times of pi@board can't be true: it reports {said}"):
        check_times(sums_ms, waited_secs, "pi@board")


def test_the_room_that_is_left():
    check_times([1509.0], [1.0], "pi@board")
