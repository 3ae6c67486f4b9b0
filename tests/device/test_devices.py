"""The table of devices: each name opens its transport, and nothing else does."""

import pytest

from edgeprune.device.devices import is_emulator, open_device
from edgeprune.device.local import LocalTransport
from edgeprune.errors import InputError

pytestmark = pytest.mark.unit


def test_this_host():
    assert isinstance(open_device("local"), LocalTransport)


def test_opening_a_board_connects_to_nothing():
    assert (
        open_device("ssh://pi@board.invalid:2222?python=/usr/bin/python3").describe() == "ssh://pi@board.invalid:2222"
    )
    assert open_device("ssh://board.invalid", install=True).describe() == "ssh://board.invalid"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("lokal", 'unknown device "lokal"; did you mean "local"'),
        ("local:x", 'this host is called "local"'),
        ("", 'unknown device ""; allowed: local, emulator:BOARD'),
        ("usb", "allowed: local, emulator:BOARD"),
    ],
)
def test_unknown_devices_are_refused_with_what_is_allowed(spec, message):
    with pytest.raises(InputError, match=message):
        open_device(spec)


def test_nothing_is_installed_on_this_host():
    with pytest.raises(InputError, match='nothing can be installed on "local"'):
        open_device("local", install=True)


def test_emulated_boards_are_told_apart():
    assert is_emulator("emulator:rpi4")
    assert not is_emulator("local")
