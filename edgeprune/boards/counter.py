"""The qemu plugin that counts instructions, compiled from counter.c with the host's own compiler."""

from __future__ import annotations

import hashlib
from importlib import resources
from pathlib import Path

from edgeprune.boards.cache import Recipe
from edgeprune.boards.command import run_command
from edgeprune.boards.host import QEMU_WITH_NEW_PLUGINS, Qemu, find_compiler

LIBRARY = "counter.so"


def counter_recipe(qemu: Qemu) -> Recipe:
    """How the plugin for this qemu is made."""
    source = resources.files("edgeprune.boards").joinpath("counter.c").read_bytes()

    def build(archives: Path, tree: Path) -> None:
        path = archives / "counter.c"
        run_command(compiler_arguments(qemu, path, tree / LIBRARY), "compiling the counter", timeout_secs=120)

    def download(archives: Path) -> None:
        (archives / "counter.c").write_bytes(source)

    return Recipe({"source": hashlib.sha256(source).hexdigest(), "qemu": qemu.version}, download, build)


def compiler_arguments(qemu: Qemu, source: Path, library: Path) -> list[str]:
    """The compiler's command line."""
    interface = 1 if qemu.major < QEMU_WITH_NEW_PLUGINS else 2
    flags = ("-O2", "-shared", "-fPIC", "-fvisibility=hidden", f"-DPLUGIN_API={interface}")
    return [find_compiler(), *flags, "-o", str(library), str(source)]
