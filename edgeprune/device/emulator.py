"""An emulated board as a device: it computes outputs and counts instructions; it has no times."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeprune.boards.board import Board, find_board
from edgeprune.boards.wheels import parse_runtime
from edgeprune.device.child import RUNNER, ChildTransport
from edgeprune.device.counts import Region, read_regions, total
from edgeprune.device.elf import NONE, Symbols, read_symbols
from edgeprune.device.kernels import HOOKS, attribute
from edgeprune.device.transport import OnProgress, RunRequest, RunResult
from edgeprune.device.watched import Stalled, watch
from edgeprune.errors import DeviceError, InputError
from edgeprune.records.instructions import InstructionCounts
from edgeprune.tflite.flatbuffer import read_model

COUNT_RUNNER = Path(__file__).with_name("count_runner.py")
KIND = "emulator:"

Outcome = InstructionCounts | DeviceError | InputError


def open_emulator(spec: str) -> EmulatorTransport:
    """Open "emulator:rpi4", or "emulator:rpi4@tflite-runtime==2.14.0" for another runtime than the target's.

    Raises:
        InputError: unknown board or runtime.
        DeviceError: the board is not set up with it.
    """
    name, separator, runtime = spec.removeprefix(KIND).partition("@")
    return EmulatorTransport(find_board(name, parse_runtime(runtime) if separator else None))


class EmulatorTransport(ChildTransport):
    """Runs requests with the board's Python under qemu-user.

    stall_secs: how long a model may take for loading, or for one invoke, before it counts as hanging.
    count_runner: the script that counts; tests put one here that misbehaves.
    """

    def __init__(
        self,
        board: Board,
        stall_secs: float = 300.0,
        runner: Path = RUNNER,
        count_runner: Path = COUNT_RUNNER,
    ) -> None:
        super().__init__(stall_secs, runner)
        self.board = board
        self.count_runner = count_runner
        name = board.target.name
        self.where = f"the emulated {name}"
        self.mend = f"set it up again: edgeprune boards setup {name} --fresh"

    def describe(self) -> str:
        """ "emulator:rpi4"."""
        return f"{KIND}{self.board.target.name}"

    def python(self, arguments: list[str]) -> list[str]:
        """The board's Python."""
        return self.board.python(arguments)

    def run(self, request: RunRequest, on_progress: OnProgress | None = None) -> RunResult:
        """Run one request; see `Transport.run`. One model's failure in mode "count" is part of the result."""
        if request.mode == "bench":
            raise InputError(f"{self.describe()} has no times to measure; it counts instructions")
        if request.mode == "outputs":
            return super().run(request, on_progress)
        if request.threads != 1:
            raise InputError(f"{self.describe()} counts on one thread, received {request.threads}; leave threads out")
        return self._count(request, on_progress)

    def _count(self, request: RunRequest, on_progress: OnProgress | None) -> RunResult:
        """Start the emulator until all models are done: a crash costs a start, not the other models."""
        library, symbols = _runtime_library(self.board.site)
        outcomes: list[Outcome] = []
        while len(outcomes) < len(request.models):
            with tempfile.TemporaryDirectory(prefix="edgeprune-count-") as name:
                start = _Start(Path(name), request, len(outcomes), library, symbols)
                shutil.copy(self.runner, start.folder / "runner.py")
                script = str(shutil.copy(self.count_runner, start.folder / "count_runner.py"))
                try:
                    ended = watch(
                        self.board.python([script, str(start.write_request())], counting=True),
                        patience_secs=self.stall_secs,
                        on_progress=on_progress,
                        cwd=start.folder,
                        env={**os.environ, **start.variables},
                    )
                    step, failure = ended.step, self.death(_model(request, ended.step).name, ended)
                except Stalled as stalled:
                    step = stalled.step
                    failure = self.hang(_model(request, step).name, step, self.stall_secs)
                header, done = start.outcomes(self)
            if not header:
                # Not a model's fault: the board's Python or its runtime does not start.
                raise done[0] if done and not isinstance(done[0], InstructionCounts) else failure
            outcomes.extend(done)
            # What had begun and has no result ended the emulator. It may also end between two models, once.
            if len(outcomes) < len(request.models) and (_index(step) == len(outcomes) or not done):
                outcomes.append(failure)
        runtime = f"{self.board.runtime.package} {self.board.runtime.version}"
        return RunResult(runtime=runtime, machine={}, counts=tuple(outcomes))


@dataclass(frozen=True)
class _Start:
    """One start of the emulator, with its files in `folder`. `skip`: so many models are done already."""

    folder: Path
    request: RunRequest
    skip: int
    library: Path | None
    symbols: Symbols

    @property
    def variables(self) -> dict[str, str]:
        """What the plugin reads."""
        return {"EDGEPRUNE_COUNTS": str(self.folder / "counts"), "EDGEPRUNE_HOOKS": str(self.folder / "hooks")}

    def write_request(self) -> Path:
        """The request of count_runner.py."""
        path = self.folder / "request.json"
        document = {
            "models": [str(model.resolve()) for model in self.request.models],
            "skip": self.skip,
            "results": str(self.folder / "results"),
            "seed": self.request.seed,
            "inputs": None if self.request.inputs is None else str(self.request.inputs.resolve()),
            "threads": 1,
            "library": None if self.library is None else self.library.name,
            "hooks": self.symbols.matching(HOOKS),
            "hooks_file": str(self.folder / "hooks"),
        }
        path.write_text(json.dumps(document), encoding="utf-8")
        return path

    def outcomes(self, transport: EmulatorTransport) -> tuple[dict[str, Any], list[Outcome]]:
        """(the first line of the results, what became of the models that this start finished, in order)."""
        path = self.folder / "results"
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        documents = [json.loads(line) for line in lines]
        header: dict[str, Any] = next((document for document in documents if "model" not in document), {})
        # Python's own code around the call is no part of a model, and differs a little from call to call.
        regions = read_regions(self.folder / "counts", [(start, end) for start, end in header.get("python", ())])
        found: list[Outcome] = []
        for document in documents:
            if "model" in document:
                model = self.request.models[document["model"]]
                if document["ok"]:
                    found.append(self._counts(model, document, regions, header["library_base"]))
                else:
                    found.append(transport.refusal(model.name, document))
        return header, found

    def _counts(self, model: Path, document: dict[str, Any], regions: list[Region], base: int) -> InstructionCounts:
        counted = attribute(regions[document["count_region"]], self.symbols, base, _operations(model))
        return InstructionCounts(
            model=str(model),
            instructions=counted.total,
            by_op=counted.by_op if self.symbols.names else {},
            by_kernel=counted.by_kernel,
            load_instructions=total(regions[document["load_region"]]),
            peak_rss_kb=document["peak_rss_kb"],
            emulated_load_secs=document["load_ms"] / 1000,
        )


def _operations(path: Path) -> tuple[str, ...]:
    """The names of the model's operations in order; none where the runtime can read it but we can't."""
    try:
        return read_model(path).op_names
    except InputError:
        return ()


def _runtime_library(site: Path) -> tuple[Path | None, Symbols]:
    """The library that holds the runtime's kernels, and its functions: the largest one that names them."""
    for path in sorted(site.glob("*/*.so"), key=lambda path: -path.stat().st_size):
        symbols = read_symbols(path)
        if symbols.matching(HOOKS):
            return path, symbols
    return None, NONE


def _index(step: str) -> int:
    """The place of the model that a progress line of count_runner.py is about."""
    return int(step.split()[1])


def _model(request: RunRequest, step: str) -> Path:
    return request.models[min(_index(step), len(request.models) - 1)]
