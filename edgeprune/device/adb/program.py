"""The adb program itself: found, run to its end, and asked which devices its server knows."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO

from edgeprune.errors import DeviceError
from edgeprune.tflite.model import text as printable

ANSWER_SECS = 30.0
_CONNECT_SECS = 10.0
_POLL_SECS = 0.2
# host:port, as `adb connect` takes it; the server forgets such a device when it restarts
_NETWORK_SERIAL = re.compile(r"[\w.\-\[\]:%]+:\d{1,5}")


class TimedOut(Exception):
    """The command was still running when its time was up; the client was ended."""


@dataclass(frozen=True)
class Finished:
    """What the adb program itself printed, and its exit code."""

    code: int
    stdout: str
    stderr: str

    @property
    def last_words(self) -> str:
        """The last line that says something, errors first."""
        return last_line(self.stderr) or last_line(self.stdout)


def find_program() -> str:
    """The path of adb: $ADB, or the one in PATH.

    Raises:
        DeviceError: there is none.
    """
    wanted = os.environ.get("ADB") or "adb"
    found = shutil.which(wanted)
    if found is None:
        raise DeviceError(
            f'adb not found (looked for "{wanted}"); install Android platform-tools, or set ADB to its path'
        )
    return found


def run_adb(
    program: str, arguments: Sequence[str], timeout_secs: float, stop: threading.Event | None = None
) -> Finished:
    """Run the adb program to its end. It never outlives the call. stop: ends it early, from another thread.

    Raises:
        TimedOut: it took longer.
        DeviceError: it can't be started, or was stopped.
    """
    # Files, not pipes: a server that the client starts would keep a pipe open for ever.
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        try:
            child = subprocess.Popen(
                [program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                # Ctrl-C must not reach the server, nor a client that cleans up.
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise DeviceError(f"{program} can't be started: {error}; check ADB, or install platform-tools") from error
        try:
            code = _wait(child, time.monotonic() + timeout_secs, stop)
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
        return Finished(code, _content(stdout), _content(stderr))


def list_devices(program: str) -> dict[str, str]:
    """Serial -> state ("device", "offline", "unauthorized", ...) of all that the adb server knows.

    Raises:
        DeviceError: the server can't be reached or started.
    """
    try:
        listed = run_adb(program, ["devices"], ANSWER_SECS)
    except TimedOut:
        raise DeviceError(
            f"`adb devices` gives no answer in {ANSWER_SECS:.0f} s; restart the server: adb kill-server"
        ) from None
    if listed.code != 0:
        raise DeviceError(f'`adb devices` failed: "{listed.last_words}"; restart the server: adb kill-server')
    lines = [line.rpartition("\t") for line in listed.stdout.splitlines() if "\t" in line]
    return {serial: state.strip() for serial, _, state in lines}


def connect(program: str, serial: str) -> str:
    """Connect to a network device where `serial` is one; returns what adb said, "" for other serials.

    `adb connect` exits with 0 either way: only `list_devices` tells whether it worked.
    """
    if not _NETWORK_SERIAL.fullmatch(serial):
        return ""
    try:
        return run_adb(program, ["connect", serial], _CONNECT_SECS).last_words
    except TimedOut:
        return f"no answer from {serial} in {_CONNECT_SECS:.0f} s"


def last_line(output: str) -> str:
    """The last line that says something, printable and short enough for a message; "" for none."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return printable(lines[-1])[:300] if lines else ""


def _wait(child: subprocess.Popen[bytes], deadline: float, stop: threading.Event | None) -> int:
    """The child's exit code."""
    while True:
        try:
            return child.wait(timeout=min(_POLL_SECS, max(deadline - time.monotonic(), 0)))
        except subprocess.TimeoutExpired:
            if stop is not None and stop.is_set():
                raise stopped() from None
            if time.monotonic() >= deadline:
                raise TimedOut from None


def stopped() -> DeviceError:
    return DeviceError("the device was closed while it worked")


def _content(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8", errors="replace").replace("\r\n", "\n")
