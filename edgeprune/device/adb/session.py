"""One request on one phone: files go there, work is done, nothing stays, even when the phone goes away meanwhile."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from edgeprune.device.adb.client import Adb, Answer, DeviceLost
from edgeprune.device.adb.clock import Clocks, clocked, read_clocks
from edgeprune.device.adb.folder import Folder, remove_stale
from edgeprune.device.adb.phone import FIXED_PERFORMANCE_SDK, Phone, read_phone
from edgeprune.device.adb.program import last_line
from edgeprune.errors import DeviceError
from edgeprune.progress import say

PROGRAM = "benchmark_model"
RETRIES = 2
_FIXED_PERFORMANCE = "cmd power set-fixed-performance-mode-enabled"

Result = TypeVar("Result")


@dataclass(frozen=True)
class Patience:
    """How long to wait, in seconds. stall: for a process, on top of the time it was asked to measure.

    back: for a lost device to come back.
    """

    stall_secs: float = 120.0
    back_secs: float = 20.0


@dataclass(frozen=True)
class Ran:
    """One run of the program on the phone. clocks: None where the device did not tell them."""

    answer: Answer
    clocks: Clocks | None


class Session:
    """Used as `with Session(...) as session`. files: name on the device -> file here; pushed before any work.

    warnings: what the user should know about how it went.
    """

    def __init__(
        self, adb: Adb, phone: Phone, files: dict[str, Path], *, fixed_performance: bool, patience: Patience
    ) -> None:
        self.adb = adb
        self.phone = phone
        self.files = files
        self.patience = patience
        self.warnings: list[str] = []
        self._fixed_performance = fixed_performance
        self._folder: Folder | None = None
        self._ready = False
        self._holds_clocks = False
        self._losses = 0
        self._given_up = False

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Also on Ctrl-C and on errors of the caller's own progress function.
        self._leave()

    def keep_on(self, work: Callable[[], Result]) -> Result:
        """Do `work`, again after the device was lost and came back: it continues by itself where it was.

        Raises:
            DeviceError: the device stays away, was lost too often, or another one answers in its place.
        """
        while True:
            try:
                self._prepare()
                return work()
            except DeviceLost as lost:
                self._recover(lost)

    def file(self, name: str) -> str:
        """The path of a file in the folder on the device."""
        assert self._folder is not None
        return self._folder.file(name)

    def run_program(self, flags: list[str], mask: str | None, timeout_secs: float) -> Ran:
        """Run the program to its end, on the cores of `mask` (hexadecimal).

        Raises:
            TimedOut: it did not end.
            DeviceLost: the device went away.
        """
        pinned = ["taskset", mask] if mask else []
        program = shlex.join([*pinned, self.file(PROGRAM), *flags])
        # exec: the pid in the file is the program's own, so that it can be ended.
        started = shlex.join(["sh", "-c", f"echo $$ >{self.file('pid')} && exec {program}"])
        # A session of its own, where the phone can: a script's children are in its group, and end with it.
        command = f"if command -v setsid >/dev/null 2>&1; then setsid {started}; else {started}; fi"
        answer = self.adb.shell(clocked(command), timeout_secs)
        output, clocks = read_clocks(answer.stdout)
        return Ran(Answer(answer.code, output, answer.stderr), clocks)

    def _prepare(self) -> None:
        """A fresh folder with all files in it, unless it is there already."""
        if self._ready:
            return
        stale = remove_stale(self.adb)
        if stale:
            say(f"removed what killed runs left on {self.adb.name}: {', '.join(stale)}")
        self._folder = Folder()
        self._folder.make(self.adb)
        for name, local in self.files.items():
            self.adb.push(local, self.file(name))
        if self.files:
            self._check_sizes()
        if self._fixed_performance:
            self._hold_clocks()
        self._ready = True

    def _check_sizes(self) -> None:
        """The models must be there whole: a shorter one could still load. The program is made executable."""
        models = {name: path for name, path in self.files.items() if name != PROGRAM}
        asked = "; ".join(f"printf '%s ' {name}; wc -c <{self.file(name)}" for name in models)
        program = f"chmod 700 {self.file(PROGRAM)} && " if PROGRAM in self.files else ""
        there = re.findall(
            r"^(\S+)\s+(\d+)\s*$", self.adb.ask(f"{program}{{ {asked or ':'}; }}", "checking files"), re.M
        )
        if {name: int(size) for name, size in there} != {name: path.stat().st_size for name, path in models.items()}:
            raise DeviceLost("a file did not arrive whole")

    def _hold_clocks(self) -> None:
        if self.phone.sdk < FIXED_PERFORMANCE_SDK:
            self._warn(f"Android {self.phone.android} has no fixed-performance mode (11 or newer has)")
            return
        # Taken for switched on from here: a lost answer must not leave it on.
        self._holds_clocks = True
        answer = self.adb.probe(f"{_FIXED_PERFORMANCE} true 2>&1", "asking for the fixed-performance mode")
        if answer.code != 0 or "fail" in answer.stdout.lower():
            self._holds_clocks = False
            words = last_line(answer.stdout) or f"exit code {answer.code}"
            self._warn(f'the phone refused the fixed-performance mode: "{words}"')

    def _warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)

    def _recover(self, lost: DeviceLost) -> None:
        """Wait for the device, see that it is the same one, and remove the old folder."""
        while True:
            self._ready = False
            self._losses += 1
            if self._losses > RETRIES:
                raise DeviceError(
                    f"{self.adb.name} was lost {self._losses} times, at last: {lost}; check the cable and run it again"
                )
            say(f"{self.adb.name} is lost ({lost}); waiting up to {self.patience.back_secs:.0f} s for it")
            if not self.adb.wait(self.patience.back_secs):
                self._given_up = True
                raise DeviceError(
                    f"{self.adb.name} was lost ({lost}) and did not come back within {self.patience.back_secs:.0f} s; "
                    "check the cable and run it again"
                )
            try:
                if read_phone(self.adb).identity != self.phone.identity:
                    # What is on the other one is none of ours to remove.
                    self._folder = None
                    self._holds_clocks = False
                    raise DeviceError(f"another phone answers as {self.adb.name} since it was lost; run it again")
                if self._folder is not None:
                    self._folder.remove(self.adb)
                    self._folder = None
                return
            except DeviceLost as again:
                lost = again

    def _leave(self) -> None:
        """Give the phone back as it was, or say what could not be undone."""
        self.adb = self.adb.unstopped()
        undo: list[tuple[str, Callable[[], object]]] = []
        if self._holds_clocks:
            undo.append(
                (
                    "the fixed-performance mode may still be on (restarting the phone ends it)",
                    lambda: self.adb.ask(f"{_FIXED_PERFORMANCE} false", "ending the fixed-performance mode"),
                )
            )
        if self._folder is not None:
            folder = self._folder
            undo.append(
                (f"{folder.path} may still be there (the next run removes it)", lambda: folder.remove(self.adb))
            )
        for left, step in undo:
            error = self._undo(step)
            if error is not None:
                say(f"warning: {self.adb.name}: {left}: {error}")
        self._folder = None
        self._holds_clocks = False

    def _undo(self, step: Callable[[], object]) -> Exception | None:
        """Do one step, once more after a lost device came back; returns the reason where it was not possible."""
        for waited in (False, True):
            try:
                step()
                return None
            except DeviceError as error:
                return error
            except DeviceLost as error:
                if waited or self._given_up or not self.adb.wait(self.patience.back_secs):
                    return error
        return None
