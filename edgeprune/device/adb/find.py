"""Which of the connected Android devices is meant, and whether it can be used."""

from __future__ import annotations

import time

from edgeprune.device.adb.client import Adb, unauthorized
from edgeprune.device.adb.program import connect, find_program, list_devices
from edgeprune.errors import DeviceError, nearest
from edgeprune.tflite.model import text as printable

# States that pass by themselves when a device has just been plugged in
_PASSING = ("offline", "connecting", "authorizing", "host")
_SETTLE_SECS = 3.0


def find_device(serial: str | None, settle_secs: float = _SETTLE_SECS) -> Adb:
    """The device with `serial`, or the only one; a network device is connected to where it is not yet.

    Raises:
        DeviceError: adb is missing; no device, several and none named, or one that is offline or unauthorized.
    """
    program = find_program()
    deadline = time.monotonic() + settle_secs
    while True:
        chosen, state = _choose(program, serial)
        if state == "device":
            return Adb(program, chosen)
        if state not in _PASSING or time.monotonic() >= deadline:
            raise _unusable(chosen, state)
        time.sleep(0.3)


def _choose(program: str, serial: str | None) -> tuple[str, str]:
    """(serial, state) of the device that is meant."""
    devices = list_devices(program)
    if serial is not None and serial not in devices:
        said = connect(program, serial)
        devices = list_devices(program) if said else devices
        if serial not in devices:
            raise _missing(serial, devices, said)
    if not devices:
        raise DeviceError(
            "no Android device found; plug one in with USB debugging allowed, or give adb:HOST:PORT for one in the "
            "network"
        )
    if serial is None and len(devices) > 1:
        names = ", ".join(f"adb:{printable(name)}" for name in devices)
        raise DeviceError(f"{len(devices)} Android devices are connected; name one of them: {names}")
    chosen = serial if serial is not None else next(iter(devices))
    return chosen, devices[chosen]


def _missing(serial: str, devices: dict[str, str], said: str) -> DeviceError:
    hint = nearest(serial, [printable(name) for name in devices]) if devices else "no device is connected"
    because = f' ("{said}")' if said else ""
    return DeviceError(f'Android device "{printable(serial)}" not found{because}; {hint}')


def _unusable(serial: str, state: str) -> DeviceError:
    if state in ("unauthorized", "authorizing"):
        return DeviceError(unauthorized(serial))
    if state.startswith("no permissions"):
        return DeviceError(
            f"this user may not use device {printable(serial)}: {printable(state)}; add platform-tools' udev rules"
        )
    return DeviceError(
        f"device {printable(serial)} is {printable(state)}; unplug it and plug it in again, or run `adb reconnect`"
    )
