"""Several devices at once, each in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from typing import TypeVar

from edgeprune.device.devices import open_device
from edgeprune.device.transport import OnProgress, Transport
from edgeprune.errors import DeviceError, InputError

Result = TypeVar("Result")


class _Ended(Exception):
    """The user has stopped everything; this device's work ends too."""


def run_together(
    specs: Sequence[str],
    measure: Callable[[Transport, OnProgress], Result],
    on_progress: OnProgress,
    *,
    install: bool = False,
) -> tuple[Result | DeviceError | InputError, ...]:
    """Open all devices and call `measure` with each; one that fails does not disturb the others.

    Args:
        specs: as for `open_device`, none twice.
        on_progress: is called with every device's lines, from one thread at a time.
        install: as for `open_device`.

    Returns:
        Per device what `measure` returned, or the error it ended with.

    Raises:
        InputError: a device is named twice.
    """
    twice = sorted({spec for spec in specs if specs.count(spec) > 1})
    if twice:
        raise InputError(f'device "{twice[0]}" is named twice; two runs at once would slow each other down')
    opened: list[Transport] = []
    ending, speaking = threading.Event(), threading.Lock()

    def tell(step: str) -> None:
        if ending.is_set():
            raise _Ended
        with speaking:
            on_progress(step)

    def work(spec: str) -> Result | DeviceError | InputError:
        try:
            with closing(open_device(spec, install=install)) as transport:
                opened.append(transport)
                if ending.is_set():
                    raise _Ended
                return measure(transport, tell)
        except (DeviceError, InputError) as error:
            return error

    with ThreadPoolExecutor(len(specs)) as pool:
        futures = [pool.submit(work, spec) for spec in specs]
        try:
            wait(futures)
        except BaseException:  # Ctrl-C: the threads don't see it
            ending.set()
            for transport in list(opened):
                transport.close()
            raise
    return tuple(future.result() for future in futures)
