"""From the text after --device to a transport."""

from __future__ import annotations

from collections.abc import Callable

from edgeprune.device.local import LocalTransport
from edgeprune.device.transport import Transport
from edgeprune.errors import InputError, nearest

# name -> how to open it
_TRANSPORTS: dict[str, Callable[[], Transport]] = {"local": LocalTransport}
# Forms of the command line's grammar that this version can't serve
_UNAVAILABLE = ("emulator", "ssh", "adb")


def open_device(spec: str) -> Transport:
    """Open the device that `spec` names, such as "local".

    Raises:
        InputError: the device is unknown, or of a kind that this version can't reach.
    """
    if spec in _TRANSPORTS:
        return _TRANSPORTS[spec]()
    kind = spec.split(":", 1)[0]
    if kind in _UNAVAILABLE:
        raise InputError(f'device "{spec}" is not available in this version; allowed: {", ".join(_TRANSPORTS)}')
    raise InputError(f'unknown device "{spec}"; {nearest(spec, _TRANSPORTS)}')
