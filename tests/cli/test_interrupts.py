"""Ctrl-C that native code swallows or replaces."""

from __future__ import annotations

import contextlib
import os
import signal
import time

import pytest

from edgeprune.cli.interrupts import interrupts_insisted_on, stopped_like_ctrl_c

pytestmark = pytest.mark.unit


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def press_and_replace() -> None:
    try:
        press()
    except KeyboardInterrupt:
        raise SystemError("bad argument to internal function") from None


def press_and_swallow() -> None:
    with contextlib.suppress(KeyboardInterrupt):
        press()
    time.sleep(30)
    pytest.fail("the work went on")


@pytest.mark.parametrize("work", [press, press_and_replace, press_and_swallow])
def test_ctrl_c_always_ends_the_work(work):
    with pytest.raises(KeyboardInterrupt), interrupts_insisted_on():
        work()


def test_an_error_without_ctrl_c_stays_what_it_is():
    with pytest.raises(ValueError, match="the model"), interrupts_insisted_on():
        raise ValueError("the model")


def test_afterwards_signals_are_as_before():
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGALRM)]
    with pytest.raises(KeyboardInterrupt), interrupts_insisted_on():
        press()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGALRM)] == handlers
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_closed_terminal_and_kill_are_interrupts(number):
    before = signal.signal(number, signal.SIG_DFL)  # under nohup the tests ignore the terminal
    cleaned = []

    def work() -> None:
        with stopped_like_ctrl_c():
            try:
                os.kill(os.getpid(), number)
                time.sleep(5)
            finally:
                cleaned.append(number)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert cleaned == [number]
    assert signal.getsignal(number) == signal.SIG_DFL
    signal.signal(number, before)


def test_what_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stopped_like_ctrl_c():
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
