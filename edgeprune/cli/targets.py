"""`edgeprune targets`: the boards that come with edgeprune, and checking a board file of one's own."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from edgeprune.cost_rates import CostRates
from edgeprune.target import Target, list_targets, load_target, read_target

_PIPE_WIDTH = 200  # columns where stdout is not a terminal, so that no cell is cut in a file or a pipe


@click.group("targets", context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """List, show and validate boards."""


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def list_command(as_json: bool) -> None:
    """List the boards that come with edgeprune."""
    targets = [load_target(name) for name in list_targets()]
    if as_json:
        click.echo(json.dumps([asdict(target) for target in targets], indent=2, ensure_ascii=False))
        return
    rows = [(target.name, target.title, _cores(target), f"{target.ram_mb}", _runtime(target)) for target in targets]
    _print_table(("name", "board", "cores, GHz", "RAM MB", "runtime"), rows)


@command.command("show")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def show_command(name: str, as_json: bool) -> None:
    """Show everything that is known of a board: NAME is one of `targets list`, or a .toml file."""
    target = load_target(name)
    if as_json:
        click.echo(json.dumps(asdict(target), indent=2, ensure_ascii=False))
        return
    facts = (
        ("board", target.title),
        ("cores", " + ".join(f"{core.count}x {core.kind} {core.ghz:g} GHz" for core in target.cores)),
        ("isa", ", ".join(target.isa) or "none"),
        ("memory", f"{target.ram_mb} MB, memcpy {target.copy_mb_s} MB/s on one thread"),
        ("runtime", _runtime(target)),
        ("channels", f"in multiples of {target.channel_multiple}"),
        ("threads", f"{target.threads}"),
        ("transport", target.transport),
        ("budget", _limits(target)),
        ("cost from", target.cost_source),
    )
    click.echo(target.name)
    for label, fact in facts:
        click.echo(f"  {label:<10} {fact}")
    click.echo()
    _print_table(("quantize", *CostRates.__dataclass_fields__), [_rates_row(*item) for item in target.cost.items()])


@command.command("validate")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def validate_command(file: Path, as_json: bool) -> None:
    """Check a board file; a mistake is named with its line, and the exit code is 2."""
    target = read_target(file)
    if as_json:
        click.echo(json.dumps({"file": str(file), "valid": True, "target": asdict(target)}, indent=2))
        return
    click.echo(f"{file} is valid: target {target.name} ({target.title}); use it with --target {_as_argument(file)}")


def _as_argument(file: Path) -> str:
    """How `--target` must name the file: a bare name without .toml would be taken for a board's name."""
    text = str(file)
    return text if text.endswith(".toml") or len(file.parts) > 1 else str(Path(".").absolute() / file)


def _cores(target: Target) -> str:
    """The clusters, short enough for a table."""
    return " + ".join(f"{core.count}x {core.kind.removeprefix('Cortex-')} @{core.ghz:g}" for core in target.cores)


def _runtime(target: Target) -> str:
    return f"{target.runtime.package} {target.runtime.version}"


def _limits(target: Target) -> str:
    given = {name: value for name, value in asdict(target.budget).items() if value is not None}
    return ", ".join(f"{name} {value:g}" for name, value in given.items()) or "none"


def _rates_row(mode: str, rates: CostRates) -> tuple[str, ...]:
    return (mode, *(f"{value:g}" for value in vars(rates).values()))


def _print_table(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """A table on stdout. Columns whose cells are all numbers are right-aligned."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        numeric = all(row[index].replace(".", "", 1).isdigit() for row in rows)
        options: dict[str, Any] = {"justify": "right" if numeric else "left", "overflow": "fold"}
        table.add_column(column, **options)
    for row in rows:
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH, highlight=False, markup=False).print(table)
