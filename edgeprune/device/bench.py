"""Measuring the latency of a TFLite model on a device, alone or against a baseline."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from edgeprune.device.devices import open_device
from edgeprune.device.several import run_together
from edgeprune.device.stats import latency_stats, ratio_of_medians
from edgeprune.device.transport import OnProgress, RunRequest, Transport
from edgeprune.device.trust import change_warnings, machine_warnings, sample_warnings
from edgeprune.errors import DeviceError, InputError
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
    install: bool = False,
) -> BenchResult:
    """Measure `model`, interleaved with `baseline` when one is given: after a warm-up of each, rounds A B A B.

    Inputs are seeded random values. Progress goes to stderr.

    Args:
        model, baseline: .tflite files.
        device: "local", "ssh://user@host" or another that `devices.open_device` knows. An emulated board has no times:
            `instructions.bench_instructions` counts on it.
        threads: threads of the runtime.
        rounds: rounds per model.
        round_secs, warmup_secs: default 10 s and 2 s; with `quick` 0.5 s and 0.3 s.
        seed: for the inputs and the bootstrap.
        install: let the device install the runtime where it is missing.

    Raises:
        InputError: a file is missing or not TFLite, a number is out of range, or the device is unknown.
        DeviceError: the device can't be reached, or its runtime is missing, crashed, hung, or can't load a model.
    """
    request = _request(model, baseline, threads, rounds, round_secs, warmup_secs, quick, seed)
    with closing(open_device(device, install=install)) as transport, _bar(request, 1) as on_progress:
        return _measure(request, transport, on_progress)


def bench_devices(
    model: Path,
    devices: Sequence[str],
    *,
    baseline: Path | None = None,
    threads: int = 1,
    rounds: int = 5,
    round_secs: float | None = None,
    warmup_secs: float | None = None,
    quick: bool = False,
    seed: int = 0,
    install: bool = False,
) -> tuple[BenchResult | DeviceError | InputError, ...]:
    """`bench` on several devices at once. Per device, in order, the result or the error that it ended with.

    Raises:
        InputError: a file is missing or not TFLite, a number is out of range, or a device is named twice.
    """
    request = _request(model, baseline, threads, rounds, round_secs, warmup_secs, quick, seed)
    with _bar(request, len(devices)) as on_progress:
        return run_together(
            devices, lambda transport, tell: _measure(request, transport, tell), on_progress, install=install
        )


def _request(
    model: Path,
    baseline: Path | None,
    threads: int,
    rounds: int,
    round_secs: float | None,
    warmup_secs: float | None,
    quick: bool,
    seed: int,
) -> RunRequest:
    """The request, when all of it is in order; the baseline comes first."""
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
    return RunRequest(
        mode="bench",
        models=models,
        threads=threads,
        seed=seed,
        rounds=rounds,
        round_secs=round_secs,
        warmup_secs=warmup_secs,
    )


@contextmanager
def _bar(request: RunRequest, devices: int) -> Iterator[OnProgress]:
    """One bar for all devices; yields what is to be called with their progress lines."""
    with progress("measuring", devices * len(request.models) * (request.rounds + 1)) as advance:
        yield _mover(request, advance)


def _mover(request: RunRequest, advance: Callable[[int, str], None]) -> OnProgress:
    started = False

    def on_progress(step: str) -> None:
        # A line tells what begins now, so the bar moves when the next one comes.
        nonlocal started
        if step.startswith(("warmup", "round")):
            advance(int(started), request.models[int(step.split()[1])].name)
            started = True

    return on_progress


def _measure(request: RunRequest, transport: Transport, on_progress: OnProgress) -> BenchResult:
    """Run a request of mode "bench" and judge what comes back."""
    result = transport.run(request, on_progress)
    peaks_kb = result.peak_rss_kb or (None,) * len(request.models)
    stats = tuple(
        replace(latency_stats(str(path), [sample for samples in rounds_ms for sample in samples]), peak_rss_kb=peak_kb)
        for path, rounds_ms, peak_kb in zip(request.models, result.rounds_ms, peaks_kb, strict=True)
    )
    compared = len(stats) > 1
    return BenchResult(
        device=transport.describe(),
        runtime=result.runtime,
        threads=request.threads,
        rounds=request.rounds,
        model=stats[-1],
        baseline=stats[0] if compared else None,
        speedup=ratio_of_medians(result.rounds_ms[0], result.rounds_ms[1], seed=request.seed) if compared else None,
        warnings=(
            *result.warnings,
            *machine_warnings(result.machine, request.threads),
            *change_warnings(result.machine, result.machine_after),
            *sample_warnings(stats, request.rounds),
        ),
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
