"""A device that runs `runner.py` in a child process, so that a crash of the runtime ends only the child."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from edgeprune.device.outcome import RunnerHost, model_of
from edgeprune.device.transport import OnProgress, RunRequest, RunResult
from edgeprune.device.watched import Stalled, watch

RUNNER = Path(__file__).with_name("runner.py")


class ChildTransport(RunnerHost):
    """Runs requests with a Python that has a TFLite runtime.

    stall_secs: how long the runner may show no progress, on top of the longest step it was asked for.
    runner: the script to run; tests put one here that misbehaves.
    """

    def __init__(self, stall_secs: float = 120.0, runner: Path = RUNNER) -> None:
        self.stall_secs = stall_secs
        self.runner = runner
        self._child: subprocess.Popen[str] | None = None

    def python(self, arguments: list[str]) -> list[str]:
        """The command that runs that Python."""
        raise NotImplementedError

    def close(self) -> None:
        """Nothing is kept between runs; one that is going on in another thread is ended."""
        if self._child is not None:
            self._child.kill()

    def run(self, request: RunRequest, on_progress: OnProgress | None = None) -> RunResult:
        """Run one request in a child process; see `Transport.run`."""
        with tempfile.TemporaryDirectory(prefix="edgeprune-bench-") as folder:
            result_path = Path(folder, "result.json")
            # A script's own folder comes first in its sys.path; here that must not be a folder of ours.
            script = Path(shutil.copy(self.runner, Path(folder, "runner.py")))
            request_path = Path(folder, "request.json")
            request_path.write_text(json.dumps(_document(request, result_path)), encoding="utf-8")
            patience = self.stall_secs + max(request.round_secs, request.warmup_secs)
            try:
                ended = watch(
                    self.python([str(script), str(request_path)]),
                    patience_secs=patience,
                    on_progress=on_progress,
                    on_start=self._started,
                    cwd=Path(folder),
                )
            except Stalled as stalled:
                raise self.hang(model_of(request, stalled.step), stalled.step, patience) from None
            finally:
                self._child = None
                if request.outputs is not None:
                    # What a crash left half written; a finished file has its own name by now.
                    request.outputs.with_name(request.outputs.name + ".part").unlink(missing_ok=True)
            if not result_path.exists():
                raise self.death(model_of(request, ended.step), ended)
            return self.result_of(request, json.loads(result_path.read_text(encoding="utf-8")))

    def _started(self, child: subprocess.Popen[str]) -> None:
        self._child = child


def _document(request: RunRequest, result_path: Path) -> dict[str, Any]:
    return {
        "mode": request.mode,
        "models": [str(path.resolve()) for path in request.models],
        "result": str(result_path),
        "threads": request.threads,
        "seed": request.seed,
        "rounds": request.rounds,
        "round_secs": request.round_secs,
        "warmup_secs": request.warmup_secs,
        "inputs": None if request.inputs is None else str(request.inputs.resolve()),
        "outputs": None if request.outputs is None else str(request.outputs.resolve()),
    }
