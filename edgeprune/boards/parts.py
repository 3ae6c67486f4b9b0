"""Where the parts of a board lie in the cache. Boards share the Debian root, the runtimes and the counter."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from edgeprune.boards.cache import Recipe
from edgeprune.boards.cpu_files import cpu_files
from edgeprune.boards.root import PYTHON, SUITE
from edgeprune.target import Runtime, Target


@dataclass(frozen=True)
class Parts:
    """The folders of one board's parts."""

    root: Path
    runtime: Path
    counter: Path
    board: Path


def parts_of(folder: Path, target: Target, runtime: Runtime) -> Parts:
    """The parts of a board with one runtime, below the folder of all boards."""
    return Parts(
        root=folder / f"debian-{SUITE}-python{PYTHON}",
        runtime=folder / "runtimes" / f"{runtime.package}-{runtime.version}",
        counter=folder / "counter",
        board=folder / target.name,
    )


def board_recipe(target: Target, root: Path) -> Recipe:
    """How a board's own root folder is made: its CPU files beside links into the shared root folder."""
    files = cpu_files(target)

    def build(archives: Path, tree: Path) -> None:
        for name, content in files.items():
            path = tree / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        # Relative, so that the cache can be moved. The tree is one folder deeper than the board's.
        for entry in sorted((root / "tree").iterdir()):
            (tree / entry.name).symlink_to(os.path.join("..", "..", root.name, "tree", entry.name))

    digest = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
    return Recipe({"cpu": digest, "root": root.name}, lambda archives: None, build)
