"""A device that runs `runner.py` in a child process, so that a crash of the runtime ends only the child."""

from __future__ import annotations

import json
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Any

from edgeprune.device.transport import OnProgress, RunRequest, RunResult
from edgeprune.device.watched import Ended, Stalled, watch
from edgeprune.errors import DeviceError, InputError

# What says nothing about the end: the runtime's greetings, and the emulator's word for the signal we name ourselves
_NOISE = ("INFO:", "qemu: uncaught target signal")
RUNNER = Path(__file__).with_name("runner.py")


class ChildTransport:
    """Runs requests with a Python that has a TFLite runtime.

    where: the place, as messages name it. mend: what to do when the runtime there is missing or broken.
    stall_secs: how long the runner may show no progress, on top of the longest step it was asked for.
    runner: the script to run; tests put one here that misbehaves.
    """

    where: str
    mend: str

    def __init__(self, stall_secs: float = 120.0, runner: Path = RUNNER) -> None:
        self.stall_secs = stall_secs
        self.runner = runner

    def python(self, arguments: list[str]) -> list[str]:
        """The command that runs that Python."""
        raise NotImplementedError

    def close(self) -> None:
        """Nothing is kept between runs."""

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
                    cwd=Path(folder),
                )
            except Stalled as stalled:
                raise self.hang(model_of(request, stalled.step), stalled.step, patience) from None
            finally:
                if request.outputs is not None:
                    # What a crash left half written; a finished file has its own name by now.
                    request.outputs.with_name(request.outputs.name + ".part").unlink(missing_ok=True)
            if not result_path.exists():
                raise self.death(model_of(request, ended.step), ended)
            result = json.loads(result_path.read_text(encoding="utf-8"))
        if not result["ok"]:
            index = result["model"]
            raise self.refusal(request.models[index or 0].name, result)
        return RunResult(
            runtime=f"{result['runtime']} {result['runtime_version']}",
            machine=result["machine"],
            machine_after=result.get("machine_after", {}),
            rounds_ms=tuple(
                tuple(tuple(samples) for samples in model["rounds_ms"])
                for model in result["models"]
                if "rounds_ms" in model
            ),
        )

    def hang(self, model: str, step: str, patience_secs: float) -> DeviceError:
        """The child showed no progress."""
        return DeviceError(
            f"{model} hangs: no progress for {patience_secs:.0f} s during {_doing(step)} on {self.where}; "
            "check the model with `edgeprune inspect`"
        )

    def death(self, model: str, ended: Ended) -> DeviceError:
        """The child ended without a result."""
        words = [line.strip() for line in ended.log if not line.startswith(_NOISE)]
        last = f'; its last words: "{words[-1]}"' if words else ""
        if ended.code < 0:
            return DeviceError(
                f"the TFLite runtime on {self.where} crashed on {model} with {_signal_name(-ended.code)} during "
                f"{_doing(ended.step)}{last}; `edgeprune inspect` shows what is in the file"
            )
        return DeviceError(
            f"the TFLite runtime on {self.where} stopped on {model} with exit code {ended.code} during "
            f"{_doing(ended.step)}{last}; {self.mend}"
        )

    def refusal(self, model: str, result: dict[str, Any]) -> DeviceError | InputError:
        """The child reported a failure."""
        message = " ".join(str(result["message"]).split())
        if result["stage"] == "inputs":
            return InputError(f"the inputs don't fit {model}: {message}")
        if result["stage"] == "load":
            return DeviceError(
                f'the TFLite runtime on {self.where} can\'t load {model}: "{message}"; convert it in another mode'
            )
        if result["stage"] == "runtime":
            return DeviceError(f"no TFLite runtime on {self.where}: {message}; {self.mend}")
        return DeviceError(f'the TFLite runtime on {self.where} failed on {model} ({result["stage"]}): "{message}"')


def model_of(request: RunRequest, step: str) -> str:
    """The file that a progress line is about."""
    words = step.split()
    index = int(words[1]) if len(words) > 1 and words[0] in ("load", "warmup", "round") else 0
    return request.models[min(index, len(request.models) - 1)].name


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


def _doing(step: str) -> str:
    names = {
        "load": "loading",
        "warmup": "warm-up",
        "round": "measuring",
        "samples": "computing outputs",
        "first": "the first invoke",
        "count": "counting",
    }
    return names.get(step.split()[0], step)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # real-time signals have no name
        return f"signal {number}"
