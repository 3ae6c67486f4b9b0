"""Measuring what the layers of a model cost on a device, one by one."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from statistics import median

from edgeprune.cost.cost_table import CostTable, Entry, Unit, read_table, write_table
from edgeprune.cost.file_layers import channel_grid, layers_of
from edgeprune.cost.one_op import LayerShape, Precision, one_op_model
from edgeprune.device.devices import is_emulator, open_device
from edgeprune.device.transport import RunRequest, Transport
from edgeprune.errors import DeviceError, InputError
from edgeprune.progress import progress, say
from edgeprune.records.instructions import InstructionCounts
from edgeprune.target import Target
from edgeprune.tflite.flatbuffer import parse_model, read_model
from edgeprune.tflite.model import TfliteModel

# Models per start of a device; the table is written after each.
BATCH = 40
_ROUNDS, _ROUND_SECS, _WARMUP_SECS = 5, 0.05, 0.02

Work = tuple[LayerShape, Precision]


def profile(
    model: Path, target: Target, device: str, output: Path, *, threads: int = 1, batch: int = BATCH
) -> CostTable:
    """Measure each distinct layer of a model over a grid of channel counts and write the table to `output`.

    A table of the same device that is already there is continued: what it holds is not measured again. Progress goes to
    stderr.

    Args:
        model: .tflite, or .keras, which is converted in float32.
        target: whose channel multiple the grid keeps.
        device: as for `bench`; an emulated board counts instructions.
        threads: of the runtime; an emulated board has one.

    Raises:
        InputError: the model can't be read or has no layer that can be measured alone; the table in `output` is of
        another
            device, runtime or thread count, or no table.
        DeviceError: the device can't be reached, or is lost.
    """
    grid = [
        (layer, precision)
        for whole, precision in layers_of(_read(model))
        for layer in channel_grid([whole], target.channel_multiple)
    ]
    work = list(dict.fromkeys(grid))
    if not work:
        raise InputError(f"{model} has no layer that can be measured alone; give a model with convolutions of batch 1")
    before = read_table(output) if output.exists() else None
    unit: Unit = "instructions" if is_emulator(device) else "ms"
    with closing(open_device(device)) as transport:
        described = transport.describe()
        if before is not None and (before.device, before.unit, before.threads) != (described, unit, threads):
            raise InputError(
                f"{output} holds costs of {before.device} on {before.threads} threads in {before.unit}, received "
                f"{described} on {threads} in {unit}; choose another file with -o"
            )
        known = {} if before is None else {entry.key: entry for entry in before.entries}
        left = [item for item in work if item not in known]
        table = before or CostTable(described, "", _now(), unit, threads, ())
        with progress("profiling", len(left)) as advance:
            for start in range(0, len(left), batch):
                part = left[start : start + batch]
                runtime, entries = measure_layers(part, transport, unit, threads)
                if before is not None and before.runtime != runtime:
                    raise InputError(f"{output} holds costs of {before.runtime}, received {runtime}; choose another -o")
                failed = table.failed + len(part) - len(entries)
                table = CostTable(described, runtime, _now(), unit, threads, (*table.entries, *entries), failed)
                write_table(table, output)
                advance(len(part), part[-1][0].op)
    if table.failed:
        say(f"warning: {table.failed} layers were refused by the runtime and are not in the table")
    return table


def measure_layers(
    work: Sequence[Work], transport: Transport, unit: Unit, threads: int
) -> tuple[str, tuple[Entry, ...]]:
    """(the runtime, an entry per layer that it ran), all in one start of the device."""
    with tempfile.TemporaryDirectory(prefix="edgeprune-profile-") as name:
        paths = [Path(name, f"{number}.tflite") for number in range(len(work))]
        for path, (layer, precision) in zip(paths, work, strict=True):
            path.write_bytes(one_op_model(layer, precision))
        if unit == "ms":
            request = RunRequest("bench", tuple(paths), threads, 0, _ROUNDS, _ROUND_SECS, _WARMUP_SECS)
            result = transport.run(request)
            found = [tuple(median(samples) for samples in rounds) for rounds in result.rounds_ms]
            return result.runtime, tuple(
                Entry(layer, precision, median(samples), samples)
                for (layer, precision), samples in zip(work, found, strict=True)
            )
        result = transport.run(RunRequest("count", tuple(paths)))
        entries = []
        for (layer, precision), counts in zip(work, result.counts, strict=True):
            if isinstance(counts, InstructionCounts):
                count = float(counts.by_op.get(layer.op) or counts.instructions)
                entries.append(Entry(layer, precision, count, (count,)))
        if not entries:
            raise next((one for one in result.counts if isinstance(one, Exception)), DeviceError("nothing was counted"))
        return result.runtime, tuple(entries)


def _read(path: Path) -> TfliteModel:
    if path.suffix == ".tflite":
        return read_model(path)
    from edgeprune.export.convert import convert
    from edgeprune.model_file import load_model

    return parse_model(convert(load_model(path), "none"), path.name)


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
