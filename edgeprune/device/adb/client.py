"""The user's own `adb` program: one device, arguments as lists, an answer only when the device says that it is whole.

The client exits with 0 when the cable drops in the middle of a shell command. So each command ends with a line that
carries its exit code behind a random word; without that line the device counts as lost.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeprune.errors import DeviceError
from edgeprune.tflite.model import text as printable

COMMAND_SECS = 30.0
_CONNECT_SECS = 10.0
_POLL_SECS = 0.2
# The slowest link that is waited for, USB 1 or a bad Wi-Fi
_BYTES_PER_SEC = 250_000
# What only the device itself can have said about a file; anything else in a failed transfer is the link's fault.
_REFUSED = re.compile(
    r"no space left|read-only file system|permission denied|not permitted|no such file|quota exceeded|file too large|"
    r"is a directory|not a directory",
    re.IGNORECASE,
)
_NO_SPACE = re.compile(r"no space left|quota exceeded", re.IGNORECASE)
# host:port, as `adb connect` takes it; the server forgets such a device when it restarts
_NETWORK_SERIAL = re.compile(r"[\w.\-\[\]:%]+:\d{1,5}")


class DeviceLost(Exception):
    """The device, or the way to it, went away while it was used. Trying again may help."""


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


@dataclass(frozen=True)
class Answer:
    """What a command printed on the device, and its exit code there."""

    code: int
    stdout: str
    stderr: str


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
        listed = run_adb(program, ["devices"], COMMAND_SECS)
    except TimedOut:
        raise DeviceError(
            f"`adb devices` gives no answer in {COMMAND_SECS:.0f} s; restart the server: adb kill-server"
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


class Adb:
    """One device behind the adb program."""

    def __init__(self, program: str, serial: str) -> None:
        self.program = program
        self.serial = serial
        self._stop = threading.Event()

    def stop(self) -> None:
        """End the command that another thread waits for, and all that it may begin."""
        self._stop.set()

    def unstopped(self) -> Adb:
        """The same device for cleaning up, which a stop does not end."""
        return Adb(self.program, self.serial)

    def shell(self, script: str, timeout_secs: float) -> Answer:
        """Run a POSIX shell script on the device. The caller quotes what goes into it.

        Raises:
            DeviceLost: the device did not say how the script ended.
            TimedOut: it did not end in time; it may still run on the device.
            DeviceError: the device does not allow it.
        """
        word = f"edgeprune-{secrets.token_hex(8)}"
        ended = self._run(["shell", "-n", f"({script}\n)\nprintf '\\n%s %d\\n' {word} $?"], timeout_secs)
        body, found, rest = ended.stdout.rpartition(f"\n{word} ")
        code = re.fullmatch(r"(\d{1,3})\n", rest)
        if not found or code is None:
            words = ended.last_words if ended.code else last_line(ended.stderr)
            raise self._lost(words, "the answer broke off")
        return Answer(int(code[1]), body, ended.stderr)

    def probe(self, script: str, doing: str) -> Answer:
        """Run a short script that may fail; one that hangs is an error.

        Raises:
            DeviceLost: the device did not say how the script ended.
            DeviceError: it gave no answer; the message says what it was `doing`.
        """
        try:
            return self.shell(script, COMMAND_SECS)
        except TimedOut:
            raise DeviceError(
                f"{self.name} gives no answer within {COMMAND_SECS:.0f} s while {doing}; unplug it and plug it in again"
            ) from None

    def ask(self, script: str, doing: str) -> str:
        """What a short script printed; one that hangs or fails is an error.

        Raises:
            DeviceLost: the device did not say how the script ended.
            DeviceError: the script failed; the message says what it was `doing`.
        """
        answer = self.probe(script, doing)
        if answer.code != 0:
            words = last_line(answer.stderr) or last_line(answer.stdout) or f"exit code {answer.code}"
            raise DeviceError(f'{self.name}: {doing} failed: "{words}"{_advice(words)}')
        return answer.stdout

    def push(self, local: Path, remote: str) -> None:
        """Copy a file to the device.

        Raises:
            DeviceLost: the link broke.
            DeviceError: the device refused the file.
        """
        # An absolute path can't be taken for an option.
        self._transfer(["push", str(local.resolve()), remote], local.stat().st_size, f"copying {printable(local.name)}")

    def pull(self, remote: str, local: Path, size: int) -> None:
        """Copy a file of about `size` bytes from the device.

        Raises:
            DeviceLost: the link broke.
            DeviceError: the device refused.
        """
        self._transfer(["pull", remote, str(local.resolve())], size, f"fetching {printable(local.name)}")

    def state(self) -> str:
        """The device's state in `adb devices`, "gone" where it is not listed."""
        return list_devices(self.program).get(self.serial, "gone")

    def wait(self, seconds: float) -> bool:
        """Wait until the device is back; whether it came."""
        deadline = time.monotonic() + seconds
        while True:
            state = self.state()
            if state == "device":
                return True
            if time.monotonic() >= deadline:
                return False
            if self._stop.is_set():
                raise _stopped()
            if state == "gone":
                connect(self.program, self.serial)
            time.sleep(min(0.2, seconds))

    @property
    def name(self) -> str:
        """The device in messages."""
        return f"device {printable(self.serial)}"

    def _transfer(self, arguments: list[str], size: int, doing: str) -> None:
        limit = COMMAND_SECS + size / _BYTES_PER_SEC
        try:
            ended = self._run(arguments, limit)
        except TimedOut:
            raise DeviceLost(f"{doing} did not end in {limit:.0f} s") from None
        if ended.code == 0:
            return
        # "failed to copy 'A' to 'B': reason", on either stream; a summary follows ("0 files pushed").
        _, named, reason = f"{ended.stdout}{ended.stderr}".rpartition("': ")
        words = last_line(reason.partition("\n")[0]) if named else ended.last_words
        if _REFUSED.search(words):
            raise DeviceError(f'{self.name}: {doing} failed: "{words}"{_advice(words)}')
        raise self._lost(words, f"{doing} broke off")

    def _run(self, arguments: list[str], timeout_secs: float) -> Finished:
        return run_adb(self.program, ["-s", self.serial, *arguments], timeout_secs, self._stop)

    def _lost(self, words: str, what: str) -> DeviceLost | DeviceError:
        if "unauthorized" in words:
            return DeviceError(unauthorized(self.serial))
        return DeviceLost(f'{what}: "{words}"' if words else what)


def unauthorized(serial: str) -> str:
    """The message for a phone that has not allowed this computer."""
    return (
        f'device {printable(serial)} is unauthorized: unlock it, accept "Allow USB debugging" for this computer '
        "and run the command again"
    )


def last_line(output: str) -> str:
    """The last line that says something, printable and short enough for a message; "" for none."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return printable(lines[-1])[:300] if lines else ""


def _advice(words: str) -> str:
    if _NO_SPACE.search(words):
        return "; free some space in /data/local/tmp there and run the command again"
    return "; see whether `adb shell` can write to /data/local/tmp there"


def _wait(child: subprocess.Popen[bytes], deadline: float, stop: threading.Event | None) -> int:
    """The child's exit code."""
    while True:
        try:
            return child.wait(timeout=min(_POLL_SECS, max(deadline - time.monotonic(), 0)))
        except subprocess.TimeoutExpired:
            if stop is not None and stop.is_set():
                raise _stopped() from None
            if time.monotonic() >= deadline:
                raise TimedOut from None


def _stopped() -> DeviceError:
    return DeviceError("the device was closed while it worked")


def _content(file: object) -> str:
    file.seek(0)  # type: ignore[attr-defined]
    return str(file.read().decode("utf-8", errors="replace")).replace("\r\n", "\n")  # type: ignore[attr-defined]
