"""`edgeprune bench`: measure a .tflite file, alone or against a baseline; on an emulated board, count instructions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeprune.cli.answered import Answered, error_document
from edgeprune.errors import BudgetError, DeviceError, EdgepruneError, InputError
from edgeprune.progress import say, shown
from edgeprune.records.bench import BenchResult
from edgeprune.records.instructions import InstructionBench

if TYPE_CHECKING:
    from edgeprune.records.bench import LatencyStats, Ratio

    Outcome = BenchResult | InstructionBench | DeviceError | InputError


@click.command("bench")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--baseline", type=click.Path(path_type=Path), help="A .tflite file to compare with, interleaved.")
@click.option(
    "--device",
    "devices",
    multiple=True,
    default=["local"],
    show_default=True,
    help="local, ssh://USER@HOST, adb or adb:SERIAL, emulator:BOARD; repeat it to measure on several at once.",
)
@click.option("--install", is_flag=True, help="ssh: let the board's pip install the runtime where it is missing.")
@click.option("--threads", default=1, show_default=True, type=click.IntRange(min=1), help="Threads of the runtime.")
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(min=1), help="Rounds per model.")
@click.option("--quick", is_flag=True, help="Rounds of 0.5 s instead of 10 s; for a first look.")
@click.option("--p99-ms", type=float, help="Fail (exit 3) when more than 1 % of the invokes take longer.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="For inputs and the interval.")
@click.option("--json", "as_json", is_flag=True, help="Print the record with all raw samples as JSON.")
def command(
    model: Path,
    baseline: Path | None,
    devices: tuple[str, ...],
    install: bool,
    threads: int,
    rounds: int,
    quick: bool,
    p99_ms: float | None,
    seed: int,
    as_json: bool,
) -> None:
    """Measure the latency of MODEL (.tflite), alone or against --baseline.

    After a warm-up the models run in turns, round by round, on random inputs. Reported are the median, p90 and p99
    of all invokes, and the ratio of the medians with a 95 % bootstrap interval.

    An emulated board has no times. There the instructions of one invoke are counted, which repeat exactly; the options
    for rounds don't count. emulator:rpi4@tflite-runtime==2.14.0 names another runtime than the board's own.

    Boards are reached with your own ssh client, its config and its keys. ssh://USER@HOST:PORT?python=/path/to/python3
    names the board's Python, ?runtime=tflite-runtime==2.14.0 the runtime that must be there.
    """
    from edgeprune.device.bench import bench, bench_devices, check_is_tflite
    from edgeprune.device.devices import is_emulator
    from edgeprune.device.instructions import bench_instructions
    from edgeprune.device.service_level import check_limit
    from edgeprune.tflite.flatbuffer import read_model

    # Read in full first: the runtime itself may crash on a damaged file.
    for path in (model,) if baseline is None else (baseline, model):
        check_is_tflite(path)
        read_model(path)
    if p99_ms is not None:
        check_limit(p99_ms)
    emulated = [device for device in devices if is_emulator(device)]
    timed = [device for device in devices if not is_emulator(device)]
    if emulated and p99_ms is not None:
        raise InputError(f"{emulated[0]} has no times, and so no p99; leave --p99-ms out")
    if emulated and threads != 1:
        raise InputError(f"{emulated[0]} counts on one thread, received --threads {threads}; leave it out")
    if emulated and install:
        raise InputError(f"nothing can be installed on {emulated[0]}, received --install; leave it out")

    def count(device: str) -> InstructionBench:
        return bench_instructions(model, baseline=baseline, device=device, seed=seed)

    outcomes: dict[str, Outcome] = {}
    if len(devices) == 1:
        outcomes[devices[0]] = (
            count(devices[0])
            if emulated
            else bench(
                model,
                baseline=baseline,
                device=devices[0],
                threads=threads,
                rounds=rounds,
                quick=quick,
                seed=seed,
                install=install,
            )
        )
    else:
        measured = bench_devices(
            model, timed, baseline=baseline, threads=threads, rounds=rounds, quick=quick, seed=seed, install=install
        )
        outcomes.update(zip(timed, measured, strict=True))
        # After the measuring: an emulator would take this host's cores from it.
        for device in emulated:
            try:
                outcomes[device] = count(device)
            except (DeviceError, InputError) as error:
                outcomes[device] = error
    _tell(outcomes)
    _answer({device: outcomes[device] for device in devices}, as_json)
    if p99_ms is not None:
        _check_p99(list(outcomes.values()), p99_ms)


def _tell(outcomes: Mapping[str, Outcome]) -> None:
    """Warnings and notes on stderr; each names its device where there are several."""
    for device, outcome in outcomes.items():
        where = f"{device}: " if len(outcomes) > 1 else ""
        if not isinstance(outcome, EdgepruneError):
            for warning in outcome.warnings:
                say(f"{where}not trustworthy: {warning}")
        if isinstance(outcome, BenchResult):
            for note in outcome.notes:
                say(f"{where}note: {note}")


def _answer(outcomes: Mapping[str, Outcome], as_json: bool) -> None:
    """Tables, or one JSON document: a list where there are several devices.

    Raises:
        Answered: some devices failed; the others' results are printed.
    """
    failed = {device: outcome for device, outcome in outcomes.items() if isinstance(outcome, EdgepruneError)}
    if as_json:
        documents = [
            {"device": device, **error_document(outcome)} if isinstance(outcome, EdgepruneError) else asdict(outcome)
            for device, outcome in outcomes.items()
        ]
        click.echo(json.dumps(documents if len(documents) > 1 else documents[0], allow_nan=False))
    else:
        measured = [outcome for outcome in outcomes.values() if isinstance(outcome, BenchResult)]
        if measured:
            _print(measured)
        for outcome in outcomes.values():
            if isinstance(outcome, InstructionBench):
                _print_instructions(outcome)
    if failed:
        line = "; ".join(f"{device}: {error}" for device, error in failed.items())
        worst = next((error for error in failed.values() if isinstance(error, DeviceError)), None)
        raise Answered(DeviceError(line) if worst else InputError(line))


def _check_p99(outcomes: Sequence[Outcome], limit_ms: float) -> None:
    """All devices are checked before the first error is raised.

    Raises:
        Answered: some miss the limit, or can't tell; the results are printed.
    """
    from edgeprune.device.service_level import check_p99

    errors: list[EdgepruneError] = []
    for outcome in outcomes:
        if isinstance(outcome, BenchResult):
            try:
                say(check_p99(outcome, limit_ms))
            except EdgepruneError as error:
                errors.append(error)
    if errors:
        worst = next((error for error in errors if isinstance(error, BudgetError)), errors[0])
        raise Answered(type(worst)("; ".join(str(error) for error in errors)))


def speedup_line(speedup: Ratio) -> str:
    """The verdict in words; an interval that contains 1 decides nothing."""
    interval = f"{speedup.confidence:.0%} interval {speedup.low:.2f} to {speedup.high:.2f}".replace("%", " %")
    if speedup.low <= 1.0 <= speedup.high:
        return f"no measurable difference: {speedup.value:.2f}x ({interval})"
    slower = "; slower than the baseline" if speedup.high < 1.0 else ""
    return f"speed-up {speedup.value:.2f}x ({interval}){slower}"


def _print(results: Sequence[BenchResult]) -> None:
    """One table; the device is in its title, or above its models where there are several."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from edgeprune.device.service_level import jitter_line

    console, first, several = Console(), results[0], len(results) > 1
    threads = "1 thread" if first.threads == 1 else f"{first.threads} threads"
    title = threads if several else f"{first.device}, {first.runtime}, {threads}"
    # Without lines between the columns there is room for names on a terminal of 80 characters.
    table = Table(title=Text(title), title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("model", overflow="fold")
    for column in ("size kB", "median ms", "p90 ms", "p99 ms", "RAM MB", "samples"):
        table.add_column(column, justify="right", no_wrap=True)
    for result in results:
        rows = [result.model] if result.baseline is None else [result.baseline, result.model]
        same_name = len({Path(stats.model).name for stats in rows}) < len(rows)
        if several:
            table.add_row(Text(f"{result.device}\n{result.runtime}", style="bold"))
        for stats in rows:
            name = Text(shown(stats.model if same_name else Path(stats.model).name))
            table.add_row(name, f"{Path(stats.model).stat().st_size / 1000:.1f}", *_numbers(stats))
    console.print(table)
    for result in results:
        jitter = jitter_line(result.model)
        if jitter is not None:
            console.print(Text((f"{result.device}: " if several else "") + jitter))
        if result.speedup is not None:
            console.print(Text((f"{result.device}: " if several else "") + speedup_line(result.speedup)))


def ratio_line(result: InstructionBench) -> str:
    """How the counts compare, without a word about time."""
    assert result.ratio is not None
    words = "fewer" if result.ratio < 1 else "more"
    change = f"{abs(1 - result.ratio):.1%}".replace("%", " %")
    return f"{result.ratio:.3f} of the baseline's instructions ({change} {words}); a count, not a time"


def _print_instructions(result: InstructionBench) -> None:
    """Per operation, in millions, and the sum; the baseline first."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    counted = [result.model] if result.baseline is None else [result.baseline, result.model]
    console.print(Text(f"{result.device}, {result.runtime}, instructions of one invoke in M"))
    table = Table()
    table.add_column("operation", overflow="fold")
    for counts in counted:
        table.add_column(Text(shown(Path(counts.model).name)), justify="right", overflow="fold")
    operations = dict.fromkeys(name for counts in counted for name in counts.by_op)
    for name in operations:
        table.add_row(name, *(f"{counts.by_op.get(name, 0) / 1e6:.3f}" for counts in counted))
    table.add_section()
    table.add_row("all", *(f"{counts.instructions / 1e6:.3f}" for counts in counted))
    table.add_row("to load it", *(f"{counts.load_instructions / 1e6:.3f}" for counts in counted))
    table.add_row("peak memory MB", *(_megabytes(counts.peak_rss_kb) for counts in counted))
    console.print(table)
    if result.ratio is not None:
        console.print(Text(ratio_line(result)))


def _megabytes(peak_kb: int | None) -> str:
    return "-" if peak_kb is None else f"{peak_kb * 1024 / 1e6:.1f}"


def _numbers(stats: LatencyStats) -> list[str]:
    times = ["-" if value is None else f"{value:.3f}" for value in (stats.median_ms, stats.p90_ms, stats.p99_ms)]
    return [*times, _megabytes(stats.peak_rss_kb), str(len(stats.samples_ms))]
