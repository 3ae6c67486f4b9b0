"""Setting a board up: everything it needs, fetched and built once, and a first start that proves it works."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from edgeprune.boards.board import Board, emulated_names, emulated_target, find_board
from edgeprune.boards.cache import boards_folder, disk_bytes, has_part, make_part, only_one_setup
from edgeprune.boards.command import run_command
from edgeprune.boards.counter import counter_recipe
from edgeprune.boards.host import find_apt, find_compiler, find_qemu
from edgeprune.boards.parts import board_recipe, parts_of
from edgeprune.boards.root import root_recipe
from edgeprune.boards.wheels import RUNTIMES, runtime_recipe
from edgeprune.errors import DeviceError, InputError, nearest
from edgeprune.progress import progress
from edgeprune.target import Runtime

_START_SECS = 180.0
_FIRST_START = "import {module}.interpreter as runtime; runtime.Interpreter; print('started')"


@dataclass(frozen=True)
class BoardState:
    """A board that can be emulated. runtimes: those set up, "PACKAGE==VERSION"; empty where the board is not set up.

    disk_bytes: of all its parts, some of which boards share.
    """

    name: str
    title: str
    default_runtime: str
    runtimes: tuple[str, ...]
    disk_bytes: int
    path: str


def setup_board(name: str, runtime: Runtime | None = None, *, fresh: bool = False) -> BoardState:
    """Set up a board with a runtime, its target's own by default. What is there already is kept, unless `fresh`.

    Needs the network for what is not in the cache yet. Progress goes to stderr.

    Raises:
        InputError: there is no such board or runtime, or the disk is full.
        DeviceError: the host lacks a program, or a download failed.
    """
    target = emulated_target(name)
    runtime = runtime or target.runtime
    if runtime.package not in RUNTIMES:
        raise InputError(f'unknown runtime "{runtime.package}"; {nearest(runtime.package, RUNTIMES)}')
    qemu = find_qemu()
    find_compiler()
    find_apt()
    folder = boards_folder()
    parts = parts_of(folder, target, runtime)
    with only_one_setup(folder), progress(f"setting up {name}", 5) as advance:
        for place, (what, part, recipe) in enumerate(
            (
                ("the counter", parts.counter, counter_recipe(qemu)),
                ("Debian packages", parts.root, root_recipe()),
                (f"{runtime.package} {runtime.version}", parts.runtime, runtime_recipe(runtime)),
                ("CPU files", parts.board, board_recipe(target, parts.root)),
            )
        ):
            advance(int(place > 0), what)
            make_part(part, recipe, fresh=fresh)
        advance(1, "first start")
        try:
            _start(find_board(name, runtime))
        except DeviceError:
            # A runtime that can't start must not look set up.
            shutil.rmtree(parts.runtime, ignore_errors=True)
            raise
        advance(1, "")
    return board_state(name)


def board_state(name: str) -> BoardState:
    """What is set up of a board.

    Raises:
        InputError: there is no such board.
    """
    target, folder = emulated_target(name), boards_folder()
    own = parts_of(folder, target, target.runtime)
    ready = has_part(own.board, board_recipe(target, own.root).identity) and has_part(own.root, root_recipe().identity)
    runtimes = _runtimes(folder) if ready else ()
    used = [own.root, own.board, own.counter, *(parts_of(folder, target, runtime).runtime for runtime in runtimes)]
    return BoardState(
        name=name,
        title=target.title,
        default_runtime=_text(target.runtime),
        runtimes=tuple(map(_text, runtimes)),
        disk_bytes=sum(map(disk_bytes, used)) if ready else 0,
        path=str(own.board) if ready else "",
    )


def board_states() -> tuple[BoardState, ...]:
    """All boards that can be emulated."""
    return tuple(map(board_state, emulated_names()))


def _start(board: Board) -> None:
    """Import the runtime on the board once: Python compiles its modules, and what is broken shows now.

    Raises:
        DeviceError: it does not start.
    """
    module = board.runtime.package.replace("-", "_")
    command = board.python(["-c", _FIRST_START.format(module=module)])
    run_command(command, f"the first start of {board.target.name}", timeout_secs=_START_SECS)


def _runtimes(folder: Path) -> tuple[Runtime, ...]:
    """The runtimes in the cache."""
    found = []
    for path in sorted((folder / "runtimes").glob("*-*")):
        package, _, version = path.name.rpartition("-")
        runtime = Runtime(package, version)
        if package in RUNTIMES and has_part(path, runtime_recipe(runtime).identity):
            found.append(runtime)
    return tuple(found)


def _text(runtime: Runtime) -> str:
    return f"{runtime.package}=={runtime.version}"
