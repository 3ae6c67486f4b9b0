"""Being asked to stop: Ctrl-C, also where native code swallows it or turns it into some other error, a closed terminal
and `kill`."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

_AGAIN_SECS = 0.5


@contextlib.contextmanager
def stopped_like_ctrl_c() -> Iterator[None]:
    """SIGTERM and SIGHUP raise KeyboardInterrupt, so that devices and folders are left clean. One that is ignored, as
    under nohup, stays ignored; other threads than the main one, which alone receives signals, change nothing.
    """

    def interrupt(signal_number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) == signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


@contextlib.contextmanager
def interrupts_insisted_on() -> Iterator[None]:
    """After Ctrl-C, raise KeyboardInterrupt until the block is left, and in place of any error that leaves it.

    Native code that calls back into Python (TensorFlow's converter, tf.data generators) drops a KeyboardInterrupt, and
    the work would go on, or replaces it by a SystemError, which would pass for a fault of the model.

    For the main thread, which alone receives signals; takes SIGALRM for itself.
    """
    pressed = left = False

    def interrupt(signal_number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        if not left:
            pressed = True
            signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECS)
            raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGALRM)}
    try:
        yield
    except Exception as error:  # of any class: whatever native code made of the interrupt
        if pressed:
            raise KeyboardInterrupt from error
        raise
    finally:
        left = True
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
