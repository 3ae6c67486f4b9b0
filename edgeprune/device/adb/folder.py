"""The private folder on the phone: made for one run, removed after it; later runs remove what killed ones left."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import re
import secrets
import shlex
from pathlib import Path

from edgeprune.device.adb.client import Adb

ROOT = "/data/local/tmp"
_NAME = re.compile(r"edgeprune-[0-9a-f]{16}")
# A run of another computer can't be looked at from here; none takes this long.
_FOREIGN_SECS = 24 * 3600
# Reads the pid of what runs in a folder, and ends it if it still is what was started there: numbers are used again.
# Its group first, which has its number where it leads one, and else is none. "-9 -- -PID" is no number to dash.
_END_PROCESS = (
    "pid=$(cat {folder}/pid 2>/dev/null) && "
    "case $(tr '\\0' ' ' </proc/$pid/cmdline 2>/dev/null) in *{name}*) kill -s KILL -- -$pid 2>/dev/null; "
    "kill -9 $pid 2>/dev/null;; esac; "
)


class Folder:
    """A folder on the device. path: absolute there, of letters that no shell cares about."""

    def __init__(self) -> None:
        self.name = f"edgeprune-{secrets.token_hex(8)}"
        self.path = f"{ROOT}/{self.name}"

    def make(self, adb: Adb) -> None:
        """Make it, for this user only, with a note on who runs here.

        Raises:
            DeviceError: the storage is full or can't be written.
            DeviceLost: the device went away; `remove` is right even so.
        """
        note = shlex.quote(_owner())
        # mkdir fails where the name exists already; Android's old mktemp knows no templates.
        script = f"mkdir -m 700 {self.path} && printf '%s\\n' {note} >{self.path}/owner"
        adb.ask(script, f"making a folder in {ROOT}")

    def file(self, name: str) -> str:
        """The path of a file in it; `name` is one of ours, never a user's."""
        return f"{self.path}/{name}"

    def remove(self, adb: Adb) -> None:
        """End what still runs in it and remove it; nothing happens where it is not.

        Raises:
            DeviceLost, DeviceError: that was not possible.
        """
        _remove(adb, self.name)


def remove_stale(adb: Adb) -> list[str]:
    """Remove the folders of runs that were killed; never one whose run may still go on. Returns their names.

    Raises:
        DeviceLost, DeviceError: the device can't be asked.
    """
    # The folder may vanish while it is looked at: another run removes it.
    script = (
        f'cd {ROOT} || exit; date +%s; for one in edgeprune-*; do if [ -d "$one" ]; then '
        'printf \'%s %s %s\\n\' "$one" "$(stat -c %Y "$one" 2>/dev/null || echo -)" "$(cat "$one"/owner 2>/dev/null)"; '
        "fi; done"
    )
    now, *lines = adb.ask(script, "looking for old folders").splitlines() or [""]
    stale = []
    for line in lines:
        name, _, rest = line.partition(" ")
        changed, _, owner = rest.partition(" ")
        age = int(now) - int(changed) if now.isdigit() and changed.isdigit() else 0
        if _NAME.fullmatch(name) and (_is_dead(owner.split()) or age > _FOREIGN_SECS):
            stale.append(name)
    for name in stale:
        _remove(adb, name)
    return stale


def _remove(adb: Adb, name: str) -> None:
    folder = f"{ROOT}/{name}"
    end = _END_PROCESS.format(folder=folder, name=name)
    adb.ask(f"{end}rm -rf {folder}; [ ! -e {folder} ]", f"removing {folder}")


def _owner() -> str:
    """Who runs here: computer, its boot, process, when that started."""
    pid = os.getpid()
    return f"{_computer()} {_boot()} {pid} {_started(pid)}"


def _is_dead(owner: list[str]) -> bool:
    """Whether the run that wrote this note has certainly ended. False for another computer's, and for no note."""
    if len(owner) != 4 or owner[0] != _computer():
        return False
    if owner[1] != _boot():
        return True
    if not owner[2].isdigit():
        return False
    pid = int(owner[2])
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return owner[3] != _started(pid)


def _computer() -> str:
    return hashlib.sha256(platform.node().encode()).hexdigest()[:16]


def _boot() -> str:
    """This boot of Linux, "-" elsewhere."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return "-"


def _started(pid: int) -> str:
    """When a process started, in clock ticks since the boot of Linux; "-" elsewhere."""
    with contextlib.suppress(OSError, IndexError):
        # The name in brackets may hold spaces itself.
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    return "-"
