"""A Linux board over ssh: `runner.py` and the models go into a fresh private folder there, raw samples come back."""

from __future__ import annotations

import json
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgeprune.atomic import replacing
from edgeprune.device.child import RUNNER
from edgeprune.device.outcome import RunnerHost, model_of
from edgeprune.device.ssh.address import SshAddress, parse_address
from edgeprune.device.ssh.board import find_python, install_runtime
from edgeprune.device.ssh.client import SshClient
from edgeprune.device.ssh.faults import Unreachable, last_words, quoted
from edgeprune.device.ssh.plausible import check_times
from edgeprune.device.ssh.session import Heard, Session, Stopped
from edgeprune.device.transport import OnProgress, RunRequest, RunResult
from edgeprune.device.watched import Ended, Stalled
from edgeprune.errors import DeviceError, InputError
from edgeprune.progress import say

RETRY_WAITS_SECS = (2.0, 10.0)

# A finished round: per model its samples
Round = tuple[tuple[float, ...], ...]


class Cut(Exception):
    """The conversation ended before the result was here in full."""


def open_ssh(spec: str, *, install: bool = False) -> SshTransport:
    """Open "ssh://user@host:port"; nothing is connected before the first run.

    install: make a virtual environment with the runtime there, where none is found that works.

    Raises:
        InputError: wrongly written.
    """
    return SshTransport(parse_address(spec), install=install)


def open_ssh_installing(spec: str) -> SshTransport:
    """`open_ssh` with `install`."""
    return open_ssh(spec, install=True)


class SshTransport(RunnerHost):
    """Runs requests with a Python of the board's.

    stall_secs: how long the runner may show no progress, on top of the longest step it was asked for.
    runner: the script to run; tests put one here that misbehaves.
    """

    def __init__(
        self,
        address: SshAddress,
        *,
        install: bool = False,
        stall_secs: float = 180.0,
        runner: Path = RUNNER,
        retry_waits_secs: tuple[float, ...] = RETRY_WAITS_SECS,
    ) -> None:
        self.address = address
        self.where = address.login
        self.mend = "install it there"
        self.install = install
        self.stall_secs = stall_secs
        self.runner = runner
        self.retry_waits_secs = retry_waits_secs
        self._client = SshClient(address)
        self._python: str | None = None
        self._session: Session | None = None
        self._left: str | None = None

    def describe(self) -> str:
        """ "ssh://user@host:port", as the user wrote it, without its options."""
        return self.address.text

    def close(self) -> None:
        """Log out; a run that is going on in another thread is ended, and the board cleaned, before."""
        session = self._session
        if session is not None and not session.finished.is_set():
            session.stop()
            session.finished.wait(timeout=60)
        self._client.close()

    def run(self, request: RunRequest, on_progress: OnProgress | None = None) -> RunResult:
        """Run one request; see `Transport.run`. Where the connection is cut it is made again, and the run goes on with
        the rounds that are still missing."""
        if request.mode == "count":
            raise InputError(
                f"{self.describe()} can't count instructions, it measures times; give an emulated board, such as "
                "emulator:rpi4"
            )
        self.mend = f"install it there: {self.address.installing(request.models[-1])}"
        self._prepare(self.address.installing(request.models[-1]))
        try:
            return self._persist(request, on_progress)
        finally:
            if self._left is not None:
                say(f"{self.where}: not everything was removed: {self._left}")

    def _persist(self, request: RunRequest, on_progress: OnProgress | None) -> RunResult:
        """Attempts, until one comes to its end or there were too many."""
        rounds: list[Round] = []
        for cuts, wait in enumerate((*self.retry_waits_secs, None)):
            try:
                self._client.connect()
                result = self._attempt(request, rounds, on_progress)
            except (Cut, Unreachable) as fault:
                if wait is None:
                    raise DeviceError(
                        f"the connection to {self.where} was cut {cuts + 1} times, last with: {fault}; "
                        f"{len(rounds)} of {request.rounds} rounds were done; check cable, power and network"
                    ) from None
                time.sleep(wait)
            else:
                note = f"the connection was cut and made again {cuts} time(s); finished rounds were kept"
                return replace(result, notes=(*result.notes, note)) if cuts else result
        raise AssertionError("the last attempt returns or raises")

    def _prepare(self, installing: str) -> None:
        """Log in, and find a Python that can run models, or install one."""
        self._client.connect()
        if self._python is not None:
            return
        found = find_python(self._client, self.address, self.address.python, installing)
        if found.problem is not None and self.install:
            say(f"{self.where}: installing the runtime; this takes minutes")
            python = install_runtime(self._client, self.address, found.python)
            found = find_python(self._client, self.address, python, installing)
        if found.problem is not None:
            raise DeviceError(found.problem)
        self._python = found.python

    def _attempt(self, request: RunRequest, rounds: list[Round], on_progress: OnProgress | None) -> RunResult:
        """One connection's part of a run; finished rounds are added to `rounds`, also where it raises Cut.

        Raises:
            Cut: see there.
            DeviceError: the run failed, or its times can't be true.
        """
        assert self._python is not None
        task, files = self._task(request, len(rounds))
        patience = self.stall_secs + max(request.round_secs, request.warmup_secs)
        done_before = tuple(rounds)
        session = self._session = Session(self._client, self._python)
        try:
            heard = session.run(task, files, patience_secs=patience, on_progress=on_progress)
        except Stalled as stalled:
            raise self.hang(model_of(request, stalled.step), stalled.step, patience) from None
        except Stopped:
            raise DeviceError(f"the run on {self.where} was ended") from None
        finally:
            self._left = session.heard.left_behind()
        fresh = _new_rounds(heard.rounds, len(rounds), len(request.models))
        check_times([sum(map(sum, one)) for one in fresh], heard.round_secs[: len(fresh)], self.where)
        rounds.extend(fresh)
        return self._result(request, heard, done_before)

    def _task(self, request: RunRequest, first_round: int) -> tuple[dict[str, Any], list[tuple[str, bytes]]]:
        """What the agent is to do, and its files. On the board they get plain names: those here may be anything."""
        files = [("runner.py", self.runner.read_bytes())]
        models = [f"model_{place}.tflite" for place in range(len(request.models))]
        files.extend((name, path.read_bytes()) for name, path in zip(models, request.models, strict=True))
        if request.inputs is not None:
            files.append(("inputs.npz", request.inputs.read_bytes()))
        document = {
            "mode": request.mode,
            "models": models,
            "threads": request.threads,
            "seed": request.seed,
            "rounds": request.rounds,
            "first_round": first_round,
            "stream": True,
            "round_secs": request.round_secs,
            "warmup_secs": request.warmup_secs,
            "inputs": None if request.inputs is None else "inputs.npz",
            "outputs": None if request.outputs is None else "outputs.npz",
        }
        return {"request": document}, files

    def _result(self, request: RunRequest, heard: Heard, done_before: tuple[Round, ...]) -> RunResult:
        """The result, when all of it is here."""
        failure = heard.document("failure")
        if failure is not None:
            raise DeviceError(
                f"{self.where} has no room for the run: {quoted(failure['message'])}; free some space there"
            )
        ended = heard.document("ended")
        if heard.damaged or ended is None:
            words = last_words(self._client.words(), heard.log)
            raise Cut(f'"{words}"' if words != "nothing" else f"ssh ended with exit code {heard.code}")
        if ended["result"] is None:
            raise self.death(model_of(request, heard.step), Ended(heard.step, ended["code"], heard.log))
        result = self.result_of(request, ended["result"])
        check_times([_invokes_ms(ended["result"])], [heard.elapsed_secs], self.where)
        if request.outputs is not None:
            if "outputs" not in heard.frames:
                raise Cut("the outputs did not arrive")
            with replacing(request.outputs) as temporary:
                temporary.write_bytes(heard.frames["outputs"])
        if request.mode == "outputs":
            return result
        per_model = [
            (*(done[place] for done in done_before), *measured) for place, measured in enumerate(result.rounds_ms)
        ]
        if [len(measured) for measured in per_model] != [request.rounds] * len(request.models):
            raise DeviceError(f"{self.where} sent another number of rounds than asked for; run the command again")
        return replace(result, rounds_ms=tuple(per_model))


def _invokes_ms(document: dict[str, Any]) -> float:
    """The milliseconds that all invokes of a result took at least.

    Of long runs only each n-th is in it. Those between two of them count as the fastest: one slow invoke that was kept
    does not stand for n slow ones.
    """
    total = 0.0
    for model in document["models"]:
        between = model.get("kept_every", 1) - 1
        total += sum(sum(one) + between * (len(one) - 1) * min(one) for one in model.get("rounds_ms", ()) if one)
    return total


def _new_rounds(frames: list[bytes], first: int, models: int) -> list[Round]:
    """Rounds that are whole, in order from `first` on."""
    rounds: list[Round] = []
    for frame in frames:
        document = json.loads(frame)
        samples = document.get("rounds_ms")
        whole = (
            document.get("round") == first + len(rounds)
            and isinstance(samples, list)
            and len(samples) == models
            and all(one and all(math.isfinite(value) and value > 0 for value in one) for one in samples)
        )
        if not whole:
            break
        rounds.append(tuple(tuple(one) for one in samples))
    return rounds
