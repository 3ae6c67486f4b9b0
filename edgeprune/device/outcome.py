"""From what `runner.py` left behind to a result, or to the error that says what happened."""

from __future__ import annotations

import re
import signal
from typing import Any

from edgeprune.device.transport import RunRequest, RunResult
from edgeprune.device.watched import Ended
from edgeprune.errors import DeviceError, InputError

# What says nothing about the end: the runtime's greetings, and the emulator's word for the signal we name ourselves
_NOISE = ("INFO:", "qemu: uncaught target signal")
# The system's words for a disk, a quota or a limit that is reached
_NO_ROOM = re.compile(r"no space left|quota exceeded|file too large", re.IGNORECASE)
# Python's words when it can't load a package, and numpy's when it is too old or too new for one
_NOT_LOADED = re.compile(r"\b(ImportError|ModuleNotFoundError)\b|compiled against|compiled using NumPy|_ARRAY_API")


class RunnerHost:
    """Where `runner.py` runs.

    where: the place, as messages name it. mend: what to do when the runtime there is missing or broken; no other error
    gives that advice.
    """

    where: str
    mend: str

    def hang(self, model: str, step: str, patience_secs: float) -> DeviceError:
        """The runner showed no progress."""
        return DeviceError(
            f"{model} hangs: no progress for {patience_secs:.0f} s during {_doing(step)} on {self.where}; "
            "check the model with `edgeprune inspect`"
        )

    def death(self, model: str, ended: Ended) -> DeviceError:
        """The runner ended without a result."""
        words = telling(ended.log)
        last = f'; its last words: "{words[-1]}"' if words else ""
        if ended.code < 0:
            memory = "; the system kills what needs more memory than it has" if ended.code == -signal.SIGKILL else ""
            return DeviceError(
                f"the TFLite runtime on {self.where} crashed on {model} with {_signal_name(-ended.code)} during "
                f"{_doing(ended.step)}{last}{memory}; `edgeprune inspect` shows what is in the file"
            )
        if words and _NO_ROOM.search(words[-1]):
            return DeviceError(
                f'there is no room on {self.where} for the result of {model}: "{words[-1]}"; free some space there and '
                "run the command again"
            )
        # Python ends with a word of its own: silence is the end of a runtime, too.
        broken = not words or _NOT_LOADED.search(words[-1])
        mend = self.mend if broken else "run the command again"
        return DeviceError(
            f"the TFLite runtime on {self.where} stopped on {model} with exit code {ended.code} during "
            f"{_doing(ended.step)}{last}; {mend}"
        )

    def refusal(self, model: str, result: dict[str, Any]) -> DeviceError | InputError:
        """The runner reported a failure."""
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

    def result_of(self, request: RunRequest, document: dict[str, Any]) -> RunResult:
        """The runner's own result.

        Raises:
            DeviceError, InputError: it reports a failure.
        """
        if not document["ok"]:
            raise self.refusal(request.models[document["model"] or 0].name, document)
        measured = [model for model in document["models"] if "rounds_ms" in model]
        return RunResult(
            runtime=f"{document['runtime']} {document['runtime_version']}",
            machine=document["machine"],
            machine_after=document.get("machine_after", {}),
            rounds_ms=tuple(tuple(tuple(samples) for samples in model["rounds_ms"]) for model in measured),
            peak_rss_kb=tuple(model.get("peak_rss_kb") for model in measured),
        )


def telling(log: list[str]) -> list[str]:
    """The lines that say something about the end."""
    return [line.strip() for line in log if line.strip() and not line.startswith(_NOISE)]


def model_of(request: RunRequest, step: str) -> str:
    """The file that a progress line is about."""
    words = step.split()
    index = int(words[1]) if len(words) > 1 and words[0] in ("memory", "load", "warmup", "round") else 0
    return request.models[min(index, len(request.models) - 1)].name


def _doing(step: str) -> str:
    names = {
        "memory": "a first try",
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
