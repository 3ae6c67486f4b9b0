"""What a failed run of benchmark_model becomes: one line with the model, the phone and the program's own words."""

from __future__ import annotations

import signal

from edgeprune.device.adb.client import Answer
from edgeprune.device.adb.program import last_line
from edgeprune.errors import DeviceError
from edgeprune.tflite.model import text as printable

# how a shell reports that it could not start a program
_NOT_EXECUTABLE, _NOT_FOUND = 126, 127
_BY_SIGNAL = 128


def run_failed(answer: Answer, model: str, phone: str) -> DeviceError:
    """The program ended with another exit code than 0."""
    words = _words(answer)
    quoted = f': "{words}"' if words else ""
    if answer.code in (_NOT_EXECUTABLE, _NOT_FOUND):
        return DeviceError(f"benchmark_model can't be started on {phone}{quoted}; give the one for its ABI")
    if answer.code == _BY_SIGNAL + signal.SIGKILL:
        return DeviceError(
            f"benchmark_model was killed on {phone} while it ran {model}: most likely out of memory{quoted}; "
            "close other apps, or give a smaller model"
        )
    if answer.code > _BY_SIGNAL:
        return DeviceError(
            f"benchmark_model crashed on {phone} with {_signal_name(answer.code - _BY_SIGNAL)} while it ran "
            f"{model}{quoted}; `edgeprune inspect` shows what is in the file"
        )
    return DeviceError(
        f"benchmark_model failed on {model} with exit code {answer.code} on {phone}{quoted}; "
        "`edgeprune inspect` shows what is in the file"
    )


def run_hangs(model: str, phone: str, timeout_secs: float) -> DeviceError:
    """The program did not end."""
    return DeviceError(
        f"{model} hangs: benchmark_model did not end within {timeout_secs:.0f} s on {phone}; "
        "check the model with `edgeprune inspect`"
    )


def no_number(model: str, phone: str, reason: str) -> DeviceError:
    """It ended well, but its numbers can't be believed."""
    return DeviceError(f"no time for {model} on {phone}: {printable(reason)}; run it again")


def unknown_flag(flags: str, phone: str) -> DeviceError:
    """The program passed over a flag, so it measured something else."""
    return DeviceError(
        f"benchmark_model on {phone} does not know {printable(flags)}, so it would measure something else; "
        "give another build of it"
    )


def _words(answer: Answer) -> str:
    """The first errors, which name the cause; the last line where none is marked as an error."""
    lines = [line.strip() for line in (*answer.stderr.splitlines(), *answer.stdout.splitlines())]
    errors = [line for line in lines if line.startswith(("ERROR", "FATAL"))]
    return printable("; ".join(errors[:2]))[:400] or last_line(answer.stderr) or last_line(answer.stdout)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # real-time signals have no name
        return f"signal {number}"
