"""Counting the instructions of TFLite models on an emulated board."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from edgeprune.device.bench import check_is_tflite
from edgeprune.device.devices import is_emulator, open_device
from edgeprune.device.transport import RunRequest, RunResult
from edgeprune.errors import DeviceError, InputError
from edgeprune.progress import progress
from edgeprune.records.instructions import UNIT, InstructionBench, InstructionCounts


def count_instructions(
    models: Sequence[Path], *, device: str, seed: int = 0, inputs: Path | None = None
) -> tuple[InstructionCounts | DeviceError | InputError, ...]:
    """Count the instructions of one invoke of each model, all in one start of the emulator where none crashes it.

    Counts repeat to 0.1 %. Progress goes to stderr.

    Args:
        models: .tflite files.
        device: an emulated board, such as "emulator:rpi4" or "emulator:rpi4@tflite-runtime==2.14.0".
        seed: for random inputs.
        inputs: .npz with input_0, ... for all of them, instead of random values.

    Returns:
        Per model the counts, or the error that it caused: the runtime refuses it, crashes on it or hangs.

    Raises:
        InputError: a file is missing or not TFLite, or the device is unknown or no emulated board.
        DeviceError: the board is not set up, or does not start.
    """
    return _count(models, device, seed, inputs)[0].counts


def bench_instructions(model: Path, *, baseline: Path | None = None, device: str, seed: int = 0) -> InstructionBench:
    """Count the instructions of `model`, alone or against `baseline`.

    Raises:
        InputError: as for `count_instructions`.
        DeviceError: as for `count_instructions`, and when either model fails.
    """
    models = (model,) if baseline is None else (baseline, model)
    result, described = _count(models, device, seed, None)
    counted = []
    for outcome in result.counts:
        if not isinstance(outcome, InstructionCounts):
            raise outcome
        counted.append(outcome)
    return InstructionBench(
        device=described,
        runtime=result.runtime,
        unit=UNIT,
        model=counted[-1],
        baseline=None if baseline is None else counted[0],
        ratio=None if baseline is None else counted[1].instructions / counted[0].instructions,
        warnings=_warnings(counted),
    )


def _count(models: Sequence[Path], device: str, seed: int, inputs: Path | None) -> tuple[RunResult, str]:
    """(result, the device's name)."""
    if not is_emulator(device):
        raise InputError(f'"{device}" can\'t count instructions; give an emulated board, such as emulator:rpi4')
    for path in models:
        check_is_tflite(path)
    request = RunRequest(mode="count", models=tuple(models), seed=seed, inputs=inputs)
    with closing(open_device(device)) as transport, progress("counting", 3 * len(models)) as advance:
        # Each line tells what begins: loading, the first invoke, the counted one.
        result = transport.run(request, lambda step: advance(1, models[int(step.split()[1])].name))
        return result, transport.describe()


def _warnings(counted: Sequence[InstructionCounts]) -> tuple[str, ...]:
    if all(counts.by_op for counts in counted):
        return ()
    return ("this runtime's library names no functions: there are no counts per operation",)
