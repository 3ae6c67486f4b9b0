"""An Android phone as a device."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import median

from edgeprune.device.adb.binary import Binary, find_binary
from edgeprune.device.adb.client import Adb, DeviceLost
from edgeprune.device.adb.find import find_device
from edgeprune.device.adb.measure import Bench, Measurement, model_file
from edgeprune.device.adb.output import ProcessRun
from edgeprune.device.adb.phone import Phone, read_phone
from edgeprune.device.adb.session import PROGRAM, Patience, Session
from edgeprune.device.adb.spec import AdbSpec, parse_spec
from edgeprune.device.adb.values import Values
from edgeprune.device.transport import OnProgress, RunRequest, RunResult
from edgeprune.errors import DeviceError, InputError
from edgeprune.tflite.model import text as printable

_PATIENCE = Patience()


@dataclass(frozen=True)
class Measured:
    """A measurement with all that the program said; `AdbTransport.run` gives a part of it."""

    phone: Phone
    binary: Binary
    result: Measurement
    notes: tuple[str, ...]


def open_adb(spec: str) -> AdbTransport:
    """Open "adb" or "adb:SERIAL", with options such as "adb:SERIAL?binary=/path"; see `spec.parse_spec`.

    Raises:
        InputError: wrongly written.
        DeviceError: adb is missing, or the phone is missing, not the only one, offline or unauthorized.
    """
    return connect(parse_spec(spec))


def connect(spec: AdbSpec, patience: Patience = _PATIENCE) -> AdbTransport:
    """Open the phone of a spec.

    Raises:
        DeviceError: as `open_adb`.
    """
    adb = find_device(spec.serial)
    try:
        return AdbTransport(adb, read_phone(adb), spec, patience)
    except DeviceLost as lost:
        raise DeviceError(f"{adb.name} went away while it was asked what it is ({lost}); check the cable") from lost


class AdbTransport:
    """Runs requests with benchmark_model in an adb shell. Each request has a folder of its own on the phone."""

    def __init__(self, adb: Adb, phone: Phone, spec: AdbSpec, patience: Patience) -> None:
        self.adb = adb
        self.phone = phone
        self.spec = spec
        self.patience = patience

    def describe(self) -> str:
        """Such as "adb:0A191 (Pixel 4, Android 13)"."""
        return f"adb:{printable(self.adb.serial)} ({self.phone.model}, Android {self.phone.android})"

    def close(self) -> None:
        """End a request that another thread waits for; nothing is kept between requests."""
        self.adb.stop()

    def run(self, request: RunRequest, on_progress: OnProgress | None = None) -> RunResult:
        """Run one request; see `Transport.run`. A sample is the mean of one process of benchmark_model."""
        if request.mode == "count":
            raise InputError(
                f"{self.describe()} can't count instructions; give an emulated board, such as emulator:rpi4"
            )
        if request.mode == "outputs":
            return self._compute(request, on_progress)
        measured = self.measure(request, on_progress)
        result = measured.result
        return RunResult(
            runtime=runtime_name(result.tool.name, measured.binary),
            machine=result.before,
            machine_after=result.after,
            rounds_ms=tuple(tuple((run.inference.avg_us / 1000,) for run in runs) for runs in result.runs),
            sample_kind="process mean",
            peak_rss_kb=tuple(_peak_kb(runs) for runs in result.runs),
            warnings=result.warnings,
            notes=measured.notes,
        )

    def measure(self, request: RunRequest, on_progress: OnProgress | None = None) -> Measured:
        """Measure all models in turns, one process each per round.

        Raises:
            DeviceError: the phone or the program failed, or a number can't be believed.
            InputError: the program can't do what was asked, or a model can't be read.
        """
        binary = find_binary(self.spec, self.phone.abis)
        with self._session(request, binary, on_progress) as session:
            result = Bench(session, self.spec, request, on_progress).measure()
        return Measured(self.phone, binary, result, tuple(self._notes(request, binary, result)))

    def _compute(self, request: RunRequest, on_progress: OnProgress | None) -> RunResult:
        binary = find_binary(self.spec, self.phone.abis)
        with self._session(request, binary, on_progress) as session:
            tool = Values(session, self.spec, request, on_progress).compute()
        return RunResult(runtime=runtime_name(tool.name, binary), machine={})

    def _session(self, request: RunRequest, binary: Binary, on_progress: OnProgress | None) -> Session:
        for index, path in enumerate(request.models):
            if not path.is_file():
                raise InputError(f"{printable(str(path))} is not there; give a .tflite file")
            if on_progress is not None:
                on_progress(f"load {index}")
        files: dict[str, Path] = {PROGRAM: binary.path}
        files |= {model_file(index): path for index, path in enumerate(request.models)}
        return Session(
            self.adb,
            self.phone,
            files,
            fixed_performance=self.spec.fixed_performance and request.mode == "bench",
            patience=self.patience,
        )

    def _notes(self, request: RunRequest, binary: Binary, result: Measurement) -> list[str]:
        notes = [
            "a program in an adb shell is scheduled differently from an app: expect other times inside an app",
            "a sample is the mean of one benchmark_model process",
        ]
        if result.cores:
            notes.append(f"held on core {', '.join(map(str, result.cores))} by taskset")
        if binary.abi and binary.abi != self.phone.abis[0]:
            notes.append(f"the program is built for {binary.abi}, the phone's own ABI is {self.phone.abis[0]}")
        if self.spec.gpu:
            notes.append("asked to run on the GPU; what it can't run there is run on the CPU")
        if not self.spec.xnnpack:
            notes.append("XNNPACK was switched off")
        for path, runs in zip(request.models, result.runs, strict=True):
            notes.append(f"{printable(path.name)}: loading took {median(run.init_us for run in runs) / 1000:.1f} ms")
        return notes


def _peak_kb(runs: tuple[ProcessRun, ...]) -> int | None:
    """The most that a process grew by. The tool tells the growth of ru_maxrss (tflite/profiling/memory_info.cc)."""
    told = [run.memory_overall_mb for run in runs if run.memory_overall_mb is not None]
    return round(max(told) * 1024) if told else None


def runtime_name(tool: str, binary: Binary) -> str:
    """The program and which build of it, as records name the runtime."""
    return f"{tool} sha256:{binary.sha256[:12]}"
