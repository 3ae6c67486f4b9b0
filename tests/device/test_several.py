"""Several devices in threads: results in order, failures apart, and one Ctrl-C for all."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from edgeprune.device.devices import KINDS, Kind
from edgeprune.device.several import run_together
from edgeprune.errors import DeviceError, InputError

pytestmark = pytest.mark.unit


class Stub:
    """A device that is busy until it is closed, or for a moment."""

    def __init__(self, spec: str, closed: list[str]) -> None:
        self.spec, self.closed = spec, closed
        self.ended = threading.Event()

    def describe(self) -> str:
        return self.spec

    def close(self) -> None:
        self.closed.append(self.spec)
        self.ended.set()


@pytest.fixture
def closed(monkeypatch):
    """Makes "stub:NAME" a device; the list of those that were closed."""
    names: list[str] = []
    monkeypatch.setitem(KINDS, "stub", Kind("stub:NAME", lambda spec: Stub(spec, names)))
    return names


def test_results_come_in_the_order_of_the_devices(closed):
    meeting = threading.Barrier(3)

    def measure(device, tell):
        meeting.wait(timeout=10)  # passes only when all three run at once
        time.sleep(0.05 if device.spec.endswith("a") else 0)
        tell(device.spec)
        return device.describe()

    told: list[str] = []
    specs = ["stub:a", "stub:b", "stub:c"]
    assert run_together(specs, measure, told.append) == tuple(specs)
    assert sorted(told) == sorted(closed) == specs


def test_one_that_fails_does_not_disturb_the_others(closed):
    def measure(device, tell):
        if device.spec == "stub:bad":
            raise DeviceError("out of reach")
        return "measured"

    failed, measured, unknown = run_together(["stub:bad", "stub:good", "nowhere"], measure, print)
    assert isinstance(failed, DeviceError)
    assert measured == "measured"
    assert isinstance(unknown, InputError)
    assert sorted(closed) == ["stub:bad", "stub:good"]


def test_a_mistake_in_the_program_is_not_hidden(closed):
    with pytest.raises(ZeroDivisionError):
        run_together(["stub:a", "stub:b"], lambda device, tell: 1 // 0, print)


def test_an_interruption_closes_all_devices(closed):
    began = threading.Barrier(3)

    def measure(device, tell):
        began.wait(timeout=10)
        assert device.ended.wait(timeout=20), "was not closed"
        tell("more")

    def interrupt():
        began.wait(timeout=10)
        time.sleep(0.2)  # until the main thread waits
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        run_together(["stub:a", "stub:b"], measure, lambda step: pytest.fail("it went on"))
    assert set(closed) == {"stub:a", "stub:b"}


def test_a_device_twice_is_refused():
    with pytest.raises(InputError, match='"local" is named twice'):
        run_together(["local", "local"], lambda device, tell: None, print)
