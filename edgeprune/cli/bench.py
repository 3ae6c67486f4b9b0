"""`edgeprune bench`: measure a .tflite file, alone or against a baseline; on an emulated board, count instructions."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from edgeprune.records.bench import BenchResult, LatencyStats, Ratio
    from edgeprune.records.instructions import InstructionBench, InstructionCounts


@click.command("bench")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--baseline", type=click.Path(path_type=Path), help="A .tflite file to compare with, interleaved.")
@click.option("--device", default="local", show_default=True, help="local, or emulator:BOARD (edgeprune boards list).")
@click.option("--threads", default=1, show_default=True, type=click.IntRange(min=1), help="Threads of the runtime.")
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(min=1), help="Rounds per model.")
@click.option("--quick", is_flag=True, help="Rounds of 0.5 s instead of 10 s; for a first look.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="For inputs and the interval.")
@click.option("--json", "as_json", is_flag=True, help="Print the record with all raw samples as JSON.")
def command(
    model: Path, baseline: Path | None, device: str, threads: int, rounds: int, quick: bool, seed: int, as_json: bool
) -> None:
    """Measure the latency of MODEL (.tflite), alone or against --baseline.

    After a warm-up the models run in turns, round by round, on random inputs. Reported are the median, p90 and p99
    of all invokes, and the ratio of the medians with a 95 % bootstrap interval.

    An emulated board has no times. There the instructions of one invoke are counted, which repeat exactly; the options
    for rounds don't count. emulator:rpi4@tflite-runtime==2.14.0 names another runtime than the board's own.
    """
    from edgeprune.device.bench import bench, check_is_tflite
    from edgeprune.device.devices import is_emulator
    from edgeprune.device.instructions import bench_instructions
    from edgeprune.errors import InputError
    from edgeprune.progress import say
    from edgeprune.records.instructions import InstructionBench
    from edgeprune.tflite.flatbuffer import read_model

    # Read in full first: the runtime itself may crash on a damaged file.
    paths = [model] if baseline is None else [baseline, model]
    for path in paths:
        check_is_tflite(path)
        read_model(path)
    result: BenchResult | InstructionBench
    if is_emulator(device):
        if threads != 1:
            raise InputError(f"{device} counts on one thread, received --threads {threads}; leave it out")
        result = bench_instructions(model, baseline=baseline, device=device, seed=seed)
    else:
        result = bench(model, baseline=baseline, device=device, threads=threads, rounds=rounds, quick=quick, seed=seed)
    for warning in result.warnings:
        say(f"warning: {warning}")
    if as_json:
        click.echo(json.dumps(asdict(result), allow_nan=False))
    elif isinstance(result, InstructionBench):
        _print_instructions(result)
    else:
        _print(result)


def speedup_line(speedup: Ratio) -> str:
    """The verdict in words; an interval that contains 1 decides nothing."""
    interval = f"{speedup.confidence:.0%} interval {speedup.low:.2f} to {speedup.high:.2f}".replace("%", " %")
    if speedup.low <= 1.0 <= speedup.high:
        return f"no measurable difference: {speedup.value:.2f}x ({interval})"
    slower = "; slower than the baseline" if speedup.high < 1.0 else ""
    return f"speed-up {speedup.value:.2f}x ({interval}){slower}"


def _print(result: BenchResult) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    threads = "1 thread" if result.threads == 1 else f"{result.threads} threads"
    table = Table(title=f"{result.device}, {result.runtime}, {threads}", title_justify="left")
    table.add_column("model", overflow="fold")
    for title in ("size kB", "median ms", "p90 ms", "p99 ms", "samples"):
        table.add_column(title, justify="right", no_wrap=True)
    rows = [result.model] if result.baseline is None else [result.baseline, result.model]
    same_name = len({Path(stats.model).name for stats in rows}) < len(rows)
    for stats in rows:
        name = stats.model if same_name else Path(stats.model).name
        table.add_row(Text(name), f"{Path(stats.model).stat().st_size / 1000:.1f}", *_numbers(stats))
    console.print(table)
    if result.speedup is not None:
        console.print(Text(speedup_line(result.speedup)))


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
        table.add_column(Text(Path(counts.model).name), justify="right", overflow="fold")
    operations = dict.fromkeys(name for counts in counted for name in counts.by_op)
    for name in operations:
        table.add_row(name, *(f"{counts.by_op.get(name, 0) / 1e6:.3f}" for counts in counted))
    table.add_section()
    table.add_row("all", *(f"{counts.instructions / 1e6:.3f}" for counts in counted))
    table.add_row("to load it", *(f"{counts.load_instructions / 1e6:.3f}" for counts in counted))
    table.add_row("peak memory MB", *(_megabytes(counts) for counts in counted))
    console.print(table)
    if result.ratio is not None:
        console.print(Text(ratio_line(result)))


def _megabytes(counts: InstructionCounts) -> str:
    return "-" if counts.peak_rss_kb is None else f"{counts.peak_rss_kb * 1024 / 1e6:.1f}"


def _numbers(stats: LatencyStats) -> list[str]:
    times = (stats.median_ms, stats.p90_ms, stats.p99_ms)
    return [*("-" if value is None else f"{value:.3f}" for value in times), str(len(stats.samples_ms))]
