"""Latency on a phone: benchmark_model is started again and again, the models in turns.

The tool prints no samples, only the mean of a process. So the process is repeated, and statistics are over processes.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from edgeprune.device.adb.faults import no_number, run_failed, run_hangs, unknown_flag
from edgeprune.device.adb.output import ProcessRun, Unusable, parse_run, unknown_flags
from edgeprune.device.adb.program import TimedOut
from edgeprune.device.adb.session import PROGRAM, Ran, Session
from edgeprune.device.adb.spec import AdbSpec
from edgeprune.device.adb.state import read_state, state_warnings
from edgeprune.device.adb.tool import Tool, bench_flags, read_help
from edgeprune.device.transport import OnProgress, RunRequest
from edgeprune.tflite.model import text as printable

MIN_ROUNDS = 5
_HELP_SECS = 30.0


@dataclass(frozen=True)
class Measurement:
    """What was measured. runs: per model, one for each round. before, after: `state.read_state`.

    cores: where the program was held, () where it was not.
    """

    tool: Tool
    cores: tuple[int, ...]
    runs: tuple[tuple[ProcessRun, ...], ...]
    before: dict[str, Any]
    after: dict[str, Any]
    warnings: tuple[str, ...]


class Bench:
    """The work of one request. It remembers what is done, so that it goes on after the phone was lost."""

    def __init__(self, session: Session, spec: AdbSpec, request: RunRequest, on_progress: OnProgress | None) -> None:
        self.session = session
        self.spec = spec
        self.request = request
        self.on_progress = on_progress
        self._tool: Tool | None = None
        self._before: dict[str, Any] | None = None
        # the cores that the program is held on, and their mask for taskset
        self._pin: tuple[tuple[int, ...], str | None] = ((), None)
        self._done: dict[tuple[int, int], ProcessRun] = {}

    def measure(self) -> Measurement:
        """Measure to the end.

        Raises:
            DeviceError: the phone or the program failed, or a number can't be believed.
            InputError: the program can't do what was asked.
        """
        after = self.session.keep_on(self._work)
        assert self._tool is not None
        assert self._before is not None
        cores = self._pin[0]
        models, rounds = range(len(self.request.models)), range(self.request.rounds)
        return Measurement(
            tool=self._tool,
            cores=cores,
            runs=tuple(tuple(self._done[model, number] for number in rounds) for model in models),
            before=self._before,
            after=after,
            warnings=tuple(self._warnings(after, cores)),
        )

    def _work(self) -> dict[str, Any]:
        if self._tool is None:
            self._tool = find_tool(self.session)
        self._pin = choose_cores(self.session, self.request.threads)
        if self._before is None:
            self._before = read_state(self.session.adb, self.session.phone)
        for number in range(self.request.rounds):
            for index in range(len(self.request.models)):
                if (index, number) not in self._done:
                    self._done[index, number] = self._process(self._tool, index, number)
        return read_state(self.session.adb, self.session.phone)

    def _process(self, tool: Tool, index: int, number: int) -> ProcessRun:
        """One process: its warm-up and its runs."""
        request = self.request
        flags = bench_flags(
            tool,
            self.session.file(model_file(index)),
            threads=request.threads,
            round_secs=request.round_secs,
            warmup_secs=request.warmup_secs,
            gpu=self.spec.gpu,
            xnnpack=self.spec.xnnpack,
        )
        if self.on_progress is not None:
            if number == 0:
                self.on_progress(f"warmup {index}")
            self.on_progress(f"round {index} {number}")
        name = printable(request.models[index].name)
        # The last warm-up and the last run may each begin just before their time is up.
        timeout_secs = self.session.patience.stall_secs + 2 * (request.round_secs + request.warmup_secs)
        began = time.monotonic()
        ran = run_checked(self.session, flags, self._pin[1], name, timeout_secs)
        elapsed_secs = time.monotonic() - began
        phone = self.session.adb.name
        try:
            run = parse_run(ran.answer.stdout, ran.answer.stderr)
        except Unusable as error:
            raise no_number(name, phone, f"benchmark_model's output can't be used: {error}") from error
        if ran.clocks is None:
            raise no_number(name, phone, "the output is garbled: it does not tell the device's clock")
        measured_us = run.init_us + sum(one.count * one.avg_us for one in (run.warmup, run.inference))
        fault = ran.clocks.fault(elapsed_secs, measured_us / 1e6)
        if fault is not None:
            raise no_number(name, phone, fault)
        return run

    def _warnings(self, after: dict[str, Any], cores: tuple[int, ...]) -> list[str]:
        assert self._before is not None
        threads, phone = self.request.threads, self.session.phone
        warnings = [*self.session.warnings, *state_warnings(self._before, after)]
        if self.request.rounds < MIN_ROUNDS:
            warnings.append(
                f"{self.request.rounds} processes of benchmark_model per model are too few for statistics; "
                f"use {MIN_ROUNDS} or more"
            )
        if not cores and phone.big_cores(threads) != tuple(core.number for core in phone.cores):
            warnings.append("the phone has no working taskset: the program may have run on little cores")
        if phone.mixes_cores(threads):
            warnings.append(f"{threads} threads don't fit on the big cores: little ones hold them up")
        return warnings


def find_tool(session: Session) -> Tool:
    """Which of the two programs it is, by its --help.

    Raises:
        DeviceLost: the device went away.
        DeviceError: it can't be started.
    """
    ran = run_program(session, ["--help"], None, f"{PROGRAM} --help", _HELP_SECS)
    # Both programs end --help with exit code 1.
    if ran.answer.code > 1:
        raise run_failed(ran.answer, "--help", session.adb.name)
    return read_help(f"{ran.answer.stdout}\n{ran.answer.stderr}")


def choose_cores(session: Session, threads: int) -> tuple[tuple[int, ...], str | None]:
    """(the cores to run on, their mask for taskset); ((), None) where all are alike, or nothing can be held there."""
    cores = session.phone.big_cores(threads)
    if not session.phone.has_taskset or len(cores) == len(session.phone.cores):
        return (), None
    mask = f"{sum(1 << core for core in cores):x}"
    # A vendor's cpuset may forbid these cores.
    allowed = session.adb.probe(f"taskset {mask} true", "trying taskset").code == 0
    return (cores, mask) if allowed else ((), None)


def run_program(session: Session, flags: list[str], mask: str | None, what: str, timeout_secs: float) -> Ran:
    """Run the program; a hang becomes an error that names `what` ran.

    Raises:
        DeviceLost: the device went away.
        DeviceError: it did not end.
    """
    try:
        return session.run_program(flags, mask, timeout_secs)
    except TimedOut:
        raise run_hangs(what, session.adb.name, timeout_secs) from None


def run_checked(session: Session, flags: list[str], mask: str | None, model: str, timeout_secs: float) -> Ran:
    """Run the program on a model; it ended well and knew every flag.

    Raises:
        DeviceLost: the device went away.
        DeviceError: anything else.
    """
    ran = run_program(session, flags, mask, model, timeout_secs)
    if ran.answer.code != 0:
        raise run_failed(ran.answer, model, session.adb.name)
    unknown = unknown_flags(ran.answer.stdout) or unknown_flags(ran.answer.stderr)
    if unknown is not None:
        raise unknown_flag(unknown, session.adb.name)
    return ran


def model_file(index: int) -> str:
    """The name of a model on the phone: never the user's own, which may hold anything."""
    return f"model_{index}.tflite"
