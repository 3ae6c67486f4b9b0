"""From the text after --device to a transport."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgeprune.device.adb.transport import open_adb
from edgeprune.device.emulator import KIND as EMULATOR
from edgeprune.device.emulator import open_emulator
from edgeprune.device.local import open_local
from edgeprune.device.ssh.address import FORM as SSH_FORM
from edgeprune.device.ssh.transport import open_ssh, open_ssh_installing
from edgeprune.device.transport import Transport
from edgeprune.errors import InputError, nearest


@dataclass(frozen=True)
class Kind:
    """One kind of device. form: how the user writes it. open: from the whole text after --device to the transport.

    install: the same, but what is missing there is installed first; None where nothing can be.
    """

    form: str
    open: Callable[[str], Transport]
    install: Callable[[str], Transport] | None = None


# The text before the first colon -> the kind of device
KINDS: dict[str, Kind] = {
    "local": Kind("local", open_local),
    "emulator": Kind("emulator:BOARD", open_emulator),
    "adb": Kind("adb[:SERIAL]", open_adb),
    "ssh": Kind(SSH_FORM, open_ssh, open_ssh_installing),
}


def open_device(spec: str, *, install: bool = False) -> Transport:
    """Open the device that `spec` names, such as "local" or "emulator:rpi4".

    install: let the device's own pip install the runtime into a folder of ours, where it is missing.

    Raises:
        InputError: the device is unknown, wrongly written, or nothing can be installed on it.
        DeviceError: the emulated board is not set up.
    """
    kind = KINDS.get(spec.partition(":")[0].lower())
    if kind is None:
        raise InputError(f'unknown device "{spec}"; {nearest(spec, [kind.form for kind in KINDS.values()])}')
    if not install:
        return kind.open(spec)
    if kind.install is None:
        able = ", ".join(kind.form for kind in KINDS.values() if kind.install)
        raise InputError(f'nothing can be installed on "{spec}"; allowed: {able}; leave the installing out')
    return kind.install(spec)


def is_emulator(spec: str) -> bool:
    """Whether a device is an emulated board, which counts instructions instead of measuring times."""
    return spec.startswith(EMULATOR)
