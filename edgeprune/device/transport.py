"""The one interface between a measurement and the device it runs on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from edgeprune.errors import DeviceError, InputError
from edgeprune.records.bench import SampleKind
from edgeprune.records.instructions import InstructionCounts

# Called with one line of the runner's progress, such as "round 0 3".
OnProgress = Callable[[str], None]


@dataclass(frozen=True)
class RunRequest:
    """What a device is asked to do; the fields are those of `runner.py`, with paths on this host.

    mode "bench": measure all models in turns. mode "outputs": run `inputs` through the one model; `outputs` names
    the .npz to write. mode "count": count the instructions of each model, one after the other, on one thread.
    Times are in seconds.
    """

    mode: Literal["bench", "outputs", "count"]
    models: tuple[Path, ...]
    threads: int = 1
    seed: int = 0
    rounds: int = 5
    round_secs: float = 10.0
    warmup_secs: float = 2.0
    inputs: Path | None = None
    outputs: Path | None = None


@dataclass(frozen=True)
class RunResult:
    """What the device answered.

    runtime: package and version, such as "ai-edge-litert 2.3.0".
    machine, machine_after: the device's state before and after the run, in the form of `runner.machine_state`.
    rounds_ms: per model, per round, milliseconds per invoke; of mode "bench". sample_kind: what one of them is: one
    invoke, or the mean of all invokes of one process where the device's program gives no more.
    peak_rss_kb: per model, the memory that loading and running it once took at most, on top of Python with the runtime;
    of mode "bench", None or nothing where the device can't tell.
    counts: per model what was counted, or why not; of mode "count".
    warnings: why the device itself says that its times can't be trusted. notes: what to know about how it measured.
    """

    runtime: str
    machine: dict[str, Any]
    machine_after: dict[str, Any] = field(default_factory=dict)
    rounds_ms: tuple[tuple[tuple[float, ...], ...], ...] = field(default=())
    sample_kind: SampleKind = "invoke"
    peak_rss_kb: tuple[int | None, ...] = field(default=())
    counts: tuple[InstructionCounts | DeviceError | InputError, ...] = field(default=())
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Transport(Protocol):
    """A device. Used as `with closing(open_device(spec)) as device`."""

    def describe(self) -> str:
        """The device as reports name it, such as "local"."""
        ...

    def run(self, request: RunRequest, on_progress: OnProgress | None = None) -> RunResult:
        """Run one request to its end.

        Raises:
            DeviceError: the runtime crashed, hung or refused a model, or the device was lost.
            InputError: the given inputs don't fit the model.
        """
        ...

    def close(self) -> None:
        """Let the device go; nothing of the run stays behind on it. From another thread it ends the run."""
        ...
