"""Measuring the latency of a TFLite model on a device, alone or against a baseline."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from edgeprune.device.devices import open_device
from edgeprune.device.stats import latency_stats, ratio_of_medians
from edgeprune.device.transport import RunRequest
from edgeprune.device.trust import machine_warnings, sample_warnings
from edgeprune.errors import InputError
from edgeprune.progress import progress
from edgeprune.records.bench import BenchResult

ROUND_SECS, WARMUP_SECS = 10.0, 2.0
QUICK_ROUND_SECS, QUICK_WARMUP_SECS = 0.5, 0.3
_KERAS_SUFFIXES = (".keras", ".h5", ".hdf5")


def bench(
    model: Path,
    *,
    baseline: Path | None = None,
    device: str = "local",
    threads: int = 1,
    rounds: int = 5,
    round_secs: float | None = None,
    warmup_secs: float | None = None,
    quick: bool = False,
    seed: int = 0,
) -> BenchResult:
    """Measure `model`, interleaved with `baseline` when one is given: after a warm-up of each, rounds A B A B.

    Inputs are seeded random values. Progress goes to stderr.

    Args:
        model, baseline: .tflite files.
        device: "local". An emulated board has no times: `instructions.bench_instructions` counts on it.
        threads: threads of the runtime.
        rounds: rounds per model.
        round_secs, warmup_secs: default 10 s and 2 s; with `quick` 0.5 s and 0.3 s.
        seed: for the inputs and the bootstrap.

    Raises:
        InputError: a file is missing or not TFLite, a number is out of range, or the device is unknown.
        DeviceError: the runtime crashed, hung, or can't load a model.
    """
    round_secs = round_secs if round_secs is not None else QUICK_ROUND_SECS if quick else ROUND_SECS
    warmup_secs = warmup_secs if warmup_secs is not None else QUICK_WARMUP_SECS if quick else WARMUP_SECS
    for name, number in (("threads", threads), ("rounds", rounds)):
        if number < 1:
            raise InputError(f"{name} must be 1 or more, received {number}")
    if not 0 < round_secs < float("inf") or not 0 <= warmup_secs < float("inf"):
        raise InputError(f"round and warm-up must be positive times, received {round_secs} s and {warmup_secs} s")
    models = (model,) if baseline is None else (baseline, model)
    for path in models:
        check_is_tflite(path)

    request = RunRequest(
        mode="bench",
        models=models,
        threads=threads,
        seed=seed,
        rounds=rounds,
        round_secs=round_secs,
        warmup_secs=warmup_secs,
    )
    with closing(open_device(device)) as transport, progress("measuring", len(models) * (rounds + 1)) as advance:
        started = False

        def on_progress(step: str) -> None:
            # A line tells what begins now, so the bar moves when the next one comes.
            nonlocal started
            if step.startswith(("warmup", "round")):
                advance(int(started), models[int(step.split()[1])].name)
                started = True

        result = transport.run(request, on_progress)
        described = transport.describe()

    stats = tuple(
        latency_stats(str(path), [sample for samples in rounds_ms for sample in samples])
        for path, rounds_ms in zip(models, result.rounds_ms, strict=True)
    )
    return BenchResult(
        device=described,
        runtime=result.runtime,
        threads=threads,
        rounds=rounds,
        model=stats[-1],
        baseline=stats[0] if baseline is not None else None,
        speedup=ratio_of_medians(result.rounds_ms[0], result.rounds_ms[1], seed=seed) if baseline else None,
        warnings=result.warnings + machine_warnings(result.machine, threads) + sample_warnings(stats, rounds),
        notes=result.notes,
        sample_kind=result.sample_kind,
    )


def check_is_tflite(path: Path) -> None:
    """Check that `path` is a TFLite file by its first bytes.

    Raises:
        InputError: it is missing or something else.
    """
    if path.suffix.lower() in _KERAS_SUFFIXES:
        raise InputError(
            f"bench measures .tflite files, received the Keras model {path.name}; "
            "`edgeprune build` converts it and writes model.tflite"
        )
    if not path.is_file():
        raise InputError(f"{path} {'is not a file' if path.exists() else 'does not exist'}; give a .tflite file")
    try:
        with path.open("rb") as handle:
            start = handle.read(8)
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}; check its permissions") from error
    if start[4:8] != b"TFL3":
        raise InputError(f'{path} is not a TFLite model (no "TFL3" at byte 4); give a .tflite file')
