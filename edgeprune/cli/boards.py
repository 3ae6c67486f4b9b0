"""`edgeprune boards`: the boards that this host can emulate."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from edgeprune.boards.setup import BoardState


@click.group("boards", context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Set up and list emulated boards; measure on one with `edgeprune bench --device emulator:NAME`."""


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def list_command(as_json: bool) -> None:
    """List the boards that can be emulated, and which of them are set up."""
    from edgeprune.boards.setup import board_states

    states = board_states()
    if as_json:
        click.echo(json.dumps([asdict(state) for state in states], indent=2))
        return
    width = max(len(state.name) for state in states)
    for state in states:
        click.echo(f"{state.name:<{width}}  {_line(state)}")


@command.command("setup")
@click.argument("name")
@click.option("--runtime", metavar="PACKAGE==VERSION", help="Instead of the target's own runtime, or beside it.")
@click.option("--fresh", is_flag=True, help="Download and build everything anew.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def setup_command(name: str, runtime: str | None, fresh: bool, as_json: bool) -> None:
    """Set up the emulated board NAME: arm64 Python, a TFLite runtime, the board's CPU and the instruction counter.

    Downloads about 40 MB once, from the host's own Debian mirror and Python package index; later setups share it and
    need no network. No root rights are needed.
    """
    from edgeprune.boards.setup import setup_board
    from edgeprune.boards.wheels import parse_runtime

    state = setup_board(name, None if runtime is None else parse_runtime(runtime), fresh=fresh)
    click.echo(json.dumps(asdict(state), indent=2) if as_json else f"{state.name} {_line(state)}")


def _line(state: BoardState) -> str:
    if not state.runtimes:
        return f"not set up ({state.title}; {state.default_runtime})"
    return (
        f"is set up with {', '.join(state.runtimes)}; {state.disk_bytes / 1e6:.0f} MB with shared parts, {state.path}"
    )
