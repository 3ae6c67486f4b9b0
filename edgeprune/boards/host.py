"""What a host needs to emulate a board, and what to install where it is missing."""

from __future__ import annotations

import re
import shutil
import sys
from dataclasses import dataclass

from edgeprune.boards.command import run_command
from edgeprune.errors import DeviceError

OLDEST_QEMU = 7
# From this version on plugins speak another interface; see counter.c.
QEMU_WITH_NEW_PLUGINS = 9


@dataclass(frozen=True)
class Qemu:
    """qemu-user for arm64. `version` is "7.2.22"."""

    program: str
    version: str

    @property
    def major(self) -> int:
        """The first number of the version."""
        return int(self.version.split(".")[0])


def find_qemu() -> Qemu:
    """The host's qemu-aarch64.

    Raises:
        DeviceError: the host is not Linux, or qemu-aarch64 is missing, too old, or built without plugins.
    """
    if sys.platform != "linux":
        raise DeviceError(f"emulated boards need a Linux host with qemu-user, this is {sys.platform}; use a Linux host")
    program = _program("qemu-aarch64", "qemu-user")
    said = run_command([program, "--version"], "asking qemu for its version", timeout_secs=30)
    found = re.search(r"version (\d+(?:\.\d+)+)", said)
    if found is None or int(found[1].split(".")[0]) < OLDEST_QEMU:
        raise DeviceError(
            f"qemu-aarch64 must be version {OLDEST_QEMU} or newer, this host has {found[1] if found else 'another'}; "
            "install a newer qemu-user"
        )
    if "-plugin" not in run_command([program, "--help"], "asking qemu for its options", timeout_secs=30):
        raise DeviceError(
            f"{program} {found[1]} is built without plugins, which count instructions; install a qemu-user that is "
            "linked dynamically (Debian 12, Ubuntu 22.04 and 24.04 have one)"
        )
    return Qemu(program, found[1])


def find_compiler() -> str:
    """The host's C compiler.

    Raises:
        DeviceError: there is none.
    """
    return _program(("cc", "gcc", "clang"), "gcc")


def find_apt() -> tuple[str, str]:
    """(apt-get, dpkg-deb), which fetch and unpack the board's packages.

    Raises:
        DeviceError: the host has no Debian tools.
    """
    if shutil.which("apt-get") is None and shutil.which("dpkg-deb") is None:
        raise DeviceError(
            "setting up a board needs a Debian or Ubuntu host: apt-get and dpkg-deb not found; run it in a "
            "debian:12 container"
        )
    return _program("apt-get", "apt"), _program("dpkg-deb", "dpkg")


def _program(names: str | tuple[str, ...], package: str) -> str:
    names = (names,) if isinstance(names, str) else names
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        raise DeviceError(f"{names[0]} not found, which emulated boards need; sudo apt-get install {package}")
    return found
