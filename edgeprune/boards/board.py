"""An emulated board that is set up, and the command line that runs its Python."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeprune.boards.cache import boards_folder, has_part
from edgeprune.boards.counter import LIBRARY, counter_recipe
from edgeprune.boards.cpu_files import pinned_cpu
from edgeprune.boards.host import Qemu, find_qemu
from edgeprune.boards.parts import board_recipe, parts_of
from edgeprune.boards.root import PYTHON, root_recipe
from edgeprune.boards.wheels import runtime_recipe
from edgeprune.errors import DeviceError, InputError, nearest
from edgeprune.target import Runtime, Target, list_targets, load_target


@dataclass(frozen=True)
class Board:
    """A board ready to run. root: qemu's root folder. site: the runtime's packages. counter: the plugin."""

    target: Target
    runtime: Runtime
    qemu: Qemu
    root: Path
    site: Path
    counter: Path

    def python(self, arguments: Sequence[str], *, counting: bool = False) -> list[str]:
        """The command that runs the board's Python on `arguments`.

        With `counting` the plugin is loaded; it reads $EDGEPRUNE_COUNTS and $EDGEPRUNE_HOOKS, see counter.c.
        """
        assert self.target.emulator is not None
        cpu = pinned_cpu(self.target, os.sched_getaffinity(0))
        pin = [] if cpu is None else ["taskset", "-c", str(cpu)]
        plugin = ["-plugin", str(self.counter)] if counting else []
        libraries = f"{self.root}/usr/lib/aarch64-linux-gnu:{self.root}/lib/aarch64-linux-gnu"
        variables = {
            "PYTHONHOME": f"{self.root}/usr",
            "PYTHONPATH": str(self.site),
            "PYTHONHASHSEED": "0",
            "LD_LIBRARY_PATH": libraries,
            # numpy's own threads would be counted with the runtime's.
            "OPENBLAS_NUM_THREADS": "1",
        }
        # The host's preloaded libraries are not for this processor.
        given = ["-U", "LD_PRELOAD"]
        given += [word for name, value in variables.items() for word in ("-E", f"{name}={value}")]
        return [
            *pin,
            *(self.qemu.program, *plugin, "-cpu", self.target.emulator.cpu, "-L", str(self.root), *given),
            *(f"{self.root}/usr/bin/python{PYTHON}", "-S", *arguments),
        ]


def emulated_names() -> tuple[str, ...]:
    """The targets that can be emulated, sorted."""
    return tuple(name for name in list_targets() if load_target(name).emulator is not None)


def emulated_target(name: str) -> Target:
    """The target of an emulated board.

    Raises:
        InputError: there is no such board, or it can't be emulated.
    """
    names = emulated_names()
    if name not in names:
        if name in list_targets():
            raise InputError(f'"{name}" can\'t be emulated; allowed: {", ".join(names)}')
        raise InputError(f'unknown board "{name}"; {nearest(name, names)}')
    return load_target(name)


def find_board(name: str, runtime: Runtime | None = None) -> Board:
    """A board that is set up, with its target's own runtime by default.

    Raises:
        InputError: there is no such board.
        DeviceError: it is not set up, or the host lacks qemu.
    """
    target = emulated_target(name)
    runtime = runtime or target.runtime
    qemu = find_qemu()
    parts = parts_of(boards_folder(), target, runtime)
    recipes = (
        (parts.root, root_recipe()),
        (parts.runtime, runtime_recipe(runtime)),
        (parts.counter, counter_recipe(qemu)),
        (parts.board, board_recipe(target, parts.root)),
    )
    if not all(has_part(folder, recipe.identity) for folder, recipe in recipes):
        wanted = "" if runtime == target.runtime else f" --runtime {runtime.package}=={runtime.version}"
        raise DeviceError(
            f"the emulated board {name} is not set up with {runtime.package} {runtime.version}; "
            f"run: edgeprune boards setup {name}{wanted}"
        )
    return Board(
        target=target,
        runtime=runtime,
        qemu=qemu,
        root=parts.board / "tree",
        site=parts.runtime / "tree",
        counter=parts.counter / "tree" / LIBRARY,
    )
