"""From the text after --device to a transport."""

from __future__ import annotations

from collections.abc import Callable

from edgeprune.device.emulator import KIND as EMULATOR
from edgeprune.device.emulator import open_emulator
from edgeprune.device.local import LocalTransport
from edgeprune.device.transport import Transport
from edgeprune.errors import InputError, nearest

# name -> how to open it
_TRANSPORTS: dict[str, Callable[[], Transport]] = {"local": LocalTransport}
# Forms of the command line's grammar that this version can't serve
_UNAVAILABLE = ("ssh", "adb")
_ALLOWED = ", ".join((*_TRANSPORTS, "emulator:BOARD"))


def open_device(spec: str) -> Transport:
    """Open the device that `spec` names: "local", or "emulator:rpi4".

    Raises:
        InputError: the device is unknown, or of a kind that this version can't reach.
        DeviceError: the emulated board is not set up.
    """
    if is_emulator(spec):
        return open_emulator(spec)
    if spec in _TRANSPORTS:
        return _TRANSPORTS[spec]()
    kind = spec.split(":", 1)[0]
    if kind in _UNAVAILABLE:
        raise InputError(f'device "{spec}" is not available in this version; allowed: {_ALLOWED}')
    raise InputError(f'unknown device "{spec}"; {nearest(spec, (*_TRANSPORTS, "emulator:BOARD"))}')


def is_emulator(spec: str) -> bool:
    """Whether a device is an emulated board, which counts instructions instead of measuring times."""
    return spec.startswith(EMULATOR)
