"""One device behind the user's own `adb`: an answer counts only when the device says that it is whole.

The client exits with 0 when the cable drops in the middle of a shell command. So each command ends with a line that
carries its exit code behind a random word; without that line the device counts as lost.
"""

from __future__ import annotations

import re
import secrets
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from edgeprune.device.adb.program import (
    ANSWER_SECS,
    Finished,
    TimedOut,
    connect,
    last_line,
    list_devices,
    run_adb,
    stopped,
)
from edgeprune.errors import DeviceError
from edgeprune.tflite.model import text as printable

# The slowest link that is waited for, USB 1 or a bad Wi-Fi
_BYTES_PER_SEC = 250_000
# What only the device itself can have said about a file; anything else in a failed transfer is the link's fault.
_REFUSED = re.compile(
    r"no space left|read-only file system|permission denied|not permitted|no such file|quota exceeded|file too large|"
    r"is a directory|not a directory",
    re.IGNORECASE,
)
_NO_SPACE = re.compile(r"no space left|quota exceeded", re.IGNORECASE)


class DeviceLost(Exception):
    """The device, or the way to it, went away while it was used. Trying again may help."""


@dataclass(frozen=True)
class Answer:
    """What a command printed on the device, and its exit code there."""

    code: int
    stdout: str
    stderr: str


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
            return self.shell(script, ANSWER_SECS)
        except TimedOut:
            raise DeviceError(
                f"{self.name} gives no answer within {ANSWER_SECS:.0f} s while {doing}; unplug it and plug it in again"
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

    def wait(self, seconds: float) -> bool:
        """Wait until the device is back; whether it came."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                state = list_devices(self.program).get(self.serial, "gone")
            except DeviceError:
                # The server itself is being restarted.
                state = "unknown"
            if state == "device":
                return True
            if time.monotonic() >= deadline:
                return False
            if self._stop.is_set():
                raise stopped()
            if state == "gone":
                connect(self.program, self.serial)
            time.sleep(min(0.2, seconds))

    @property
    def name(self) -> str:
        """The device in messages."""
        return f"device {printable(self.serial)}"

    def _transfer(self, arguments: list[str], size: int, doing: str) -> None:
        limit = ANSWER_SECS + size / _BYTES_PER_SEC
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


def _advice(words: str) -> str:
    if _NO_SPACE.search(words):
        return "; free some space in /data/local/tmp there and run the command again"
    return "; see whether `adb shell` can write to /data/local/tmp there"
