"""This host as a device: the runner in a child process, so that a crash of the runtime ends only the child."""

from __future__ import annotations

import json
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from edgeprune.device.transport import OnProgress, RunRequest, RunResult
from edgeprune.errors import DeviceError, InputError

RUNNER = Path(__file__).with_name("runner.py")
_MARK = "@edgeprune "


class LocalTransport:
    """Runs requests with this Python and the runtime installed beside edgeprune.

    stall_secs: how long the runner may show no progress, on top of the longest step it was asked for.
    runner: the script to run; tests put one here that misbehaves.
    """

    def __init__(self, stall_secs: float = 120.0, runner: Path = RUNNER) -> None:
        self.stall_secs = stall_secs
        self.runner = runner

    def describe(self) -> str:
        """ "local"."""
        return "local"

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
            step, code, log = self._watch([sys.executable, str(script), str(request_path)], request, on_progress)
            if request.outputs is not None:
                # What a crash left half written; a finished file has its own name by now.
                request.outputs.with_name(request.outputs.name + ".part").unlink(missing_ok=True)
            if not result_path.exists():
                raise _death(request, step, code, log)
            result = json.loads(result_path.read_text(encoding="utf-8"))
        if not result["ok"]:
            raise _refusal(request, result)
        return RunResult(
            runtime=f"{result['runtime']} {result['runtime_version']}",
            machine=result["machine"],
            rounds_ms=tuple(
                tuple(tuple(samples) for samples in model["rounds_ms"])
                for model in result["models"]
                if "rounds_ms" in model
            ),
        )

    def _watch(
        self, arguments: list[str], request: RunRequest, on_progress: OnProgress | None
    ) -> tuple[str, int, list[str]]:
        """Run the child to its end; returns (last progress line, exit code, other stderr lines)."""
        child = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        assert child.stderr is not None
        lines: queue.Queue[str | None] = queue.Queue()
        reader = threading.Thread(target=_pump, args=(child.stderr, lines), daemon=True)
        reader.start()
        step, log = "load 0", []
        patience = self.stall_secs + max(request.round_secs, request.warmup_secs)
        try:
            while (line := lines.get(timeout=patience)) is not None:
                if line.startswith(_MARK):
                    step = line[len(_MARK) :]
                    if on_progress is not None:
                        on_progress(step)
                else:
                    log.append(line)
            return step, child.wait(timeout=patience), log
        except (queue.Empty, subprocess.TimeoutExpired):
            raise DeviceError(
                f"{_model_of(request, step)} hangs: no progress for {patience:.0f} s during {_doing(step)} on this "
                "host; check the model with `edgeprune inspect`"
            ) from None
        finally:
            # Also on Ctrl-C and on errors of the caller's own progress function.
            if child.poll() is None:
                child.kill()
                child.wait()
            reader.join(timeout=5)
            child.stderr.close()


def _pump(stream: Any, lines: queue.Queue[str | None]) -> None:
    """Move lines from the child's stderr into the queue; None marks the end."""
    for line in stream:
        lines.put(line.rstrip("\n"))
    lines.put(None)


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


def _model_of(request: RunRequest, step: str) -> str:
    """The file that a progress line is about."""
    words = step.split()
    index = int(words[1]) if len(words) > 1 and words[0] in ("load", "warmup", "round") else 0
    return request.models[min(index, len(request.models) - 1)].name


def _doing(step: str) -> str:
    names = {"load": "loading", "warmup": "warm-up", "round": "measuring", "samples": "computing outputs"}
    return names.get(step.split()[0], step)


def _death(request: RunRequest, step: str, code: int, log: list[str]) -> DeviceError:
    """The child ended without a result."""
    last = f'; its last words: "{log[-1].strip()}"' if log else ""
    model = _model_of(request, step)
    if code < 0:
        return DeviceError(
            f"the TFLite runtime crashed on {model} with {_signal_name(-code)} during {_doing(step)}{last}; "
            "`edgeprune inspect` shows what is in the file"
        )
    return DeviceError(
        f"the TFLite runtime stopped on {model} with exit code {code} during {_doing(step)}{last}; "
        "reinstall ai-edge-litert in this environment"
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # real-time signals have no name
        return f"signal {number}"


def _refusal(request: RunRequest, result: dict[str, Any]) -> DeviceError | InputError:
    """The child reported a failure."""
    message = " ".join(str(result["message"]).split())
    index = result["model"]
    model = request.models[index].name if index is not None else request.models[0].name
    if result["stage"] == "inputs":
        return InputError(f"the inputs don't fit {model}: {message}")
    if result["stage"] == "load":
        return DeviceError(
            f'the TFLite runtime on this host can\'t load {model}: "{message}"; convert it in another mode'
        )
    if result["stage"] == "runtime":
        return DeviceError(f"no TFLite runtime on this host: {message}; pip install ai-edge-litert")
    return DeviceError(f'the TFLite runtime on this host failed on {model} ({result["stage"]}): "{message}"')
