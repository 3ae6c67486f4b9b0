"""Ctrl-C that native code swallows or turns into some other error."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

_AGAIN_SECS = 0.5


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
