"""What is known of the board's state after a conversation."""

from __future__ import annotations

import json

import pytest

from edgeprune.device.ssh.session import Heard
from edgeprune.device.ssh.transport import _new_rounds

pytestmark = pytest.mark.unit


def left(*problems: str) -> bytes:
    return json.dumps({"problems": problems}).encode()


@pytest.mark.parametrize(
    ("frames", "said"),
    [
        ({}, None),  # nothing was made there
        ({"folder": b"/tmp/edgeprune-run-x", "left": left()}, None),
        ({"folder": b"/tmp/x", "left": left("/tmp/x: Permission denied", "/tmp/y: busy")}, "Permission denied; /tmp/y"),
        ({"folder": b"/tmp/x"}, "/tmp/x can't be seen any more"),
    ],
)
def test_what_could_not_be_removed_is_said(frames, said):
    found = Heard(frames=frames).left_behind()
    assert found is None if said is None else said in str(found)


def round_frame(number: int, *samples: list[float]) -> bytes:
    return json.dumps({"round": number, "rounds_ms": samples}).encode()


def test_only_whole_rounds_in_order_are_kept():
    whole = [round_frame(2, [1.0, 2.0], [3.0]), round_frame(3, [1.5], [2.5])]
    assert _new_rounds(whole, 2, 2) == [((1.0, 2.0), (3.0,)), ((1.5,), (2.5,))]
    assert _new_rounds(whole, 0, 2) == []
    for bad in ([[1.0]], [[1.0], []], [[1.0], [0.0]], [[1.0], [float("nan")]], [[1.0], [-2.0]]):
        assert _new_rounds([whole[0], round_frame(3, *bad)], 2, 2) == [((1.0, 2.0), (3.0,))]
