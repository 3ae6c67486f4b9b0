"""The parts of emulated boards in the user's cache: built once, whole or not at all, with checksums.

A part is a folder with `archives` (what was downloaded), `tree` (what it became) and `manifest.json`. It is built in
a `.partial` folder beside it and renamed. A damaged tree is built again from intact archives, without the network.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeprune.atomic import disk_error, write_json
from edgeprune.errors import InputError
from edgeprune.progress import say

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Recipe:
    """How a part is made. `identity`: what it is made from; another identity makes it again.

    download: fills an empty folder with archives. build: makes the tree from the archives.
    """

    identity: dict[str, str]
    download: Callable[[Path], None]
    build: Callable[[Path, Path], None]


def boards_folder() -> Path:
    """$XDG_CACHE_HOME/edgeprune/boards, ~/.cache without the variable.

    Raises:
        InputError: its name has a comma or colon, at which qemu and the loader split lists.
    """
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base, "edgeprune", "boards").absolute()
    if any(mark in str(folder) for mark in ',:"'):
        raise InputError(
            f"emulated boards can't live in {folder}: a comma, colon or quote is in its name; set XDG_CACHE_HOME to "
            "another folder"
        )
    return folder


@contextlib.contextmanager
def only_one_setup(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; a second setup waits for the first and then finds its parts.

    Raises:
        InputError: the folder can't be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / ".lock", "w")  # noqa: SIM115 - held until the setup ends
    except OSError as error:
        raise disk_error(error, folder) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another edgeprune is setting up a board; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def make_part(folder: Path, recipe: Recipe, *, fresh: bool = False) -> Path:
    """Make a part unless it is there and intact; returns its tree. `fresh` downloads and builds it anew.

    Raises:
        DeviceError: a download or build step failed; an earlier part stays as it was.
        InputError: the disk is full or can't be written.
    """
    if not fresh and is_intact(folder, recipe.identity):
        return folder / "tree"
    partial, discarded = folder.with_name(f"{folder.name}.partial"), folder.with_name(f"{folder.name}.discarded")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(discarded, ignore_errors=True)
        (partial / "tree").mkdir(parents=True)
        if not fresh and _archives_intact(folder, recipe.identity):
            shutil.copytree(folder / "archives", partial / "archives")
        else:
            (partial / "archives").mkdir()
            recipe.download(partial / "archives")
        recipe.build(partial / "archives", partial / "tree")
        write_json(partial / MANIFEST, _manifest(partial, recipe.identity))
        if folder.exists():
            os.replace(folder, discarded)
        os.replace(partial, folder)
    except OSError as error:
        raise disk_error(error, folder) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(discarded, ignore_errors=True)
    return folder / "tree"


def has_part(folder: Path, identity: dict[str, str]) -> bool:
    """Whether the part was made from `identity`; a quick look that trusts its files."""
    return _read_manifest(folder).get("identity") == identity


def is_intact(folder: Path, identity: dict[str, str]) -> bool:
    """Whether the part was made from `identity`, its archives have their checksums and no file of its tree is gone."""
    manifest = _read_manifest(folder)
    return (
        manifest.get("identity") == identity
        and manifest.get("archives") == _checksums(folder / "archives")
        and manifest.get("tree") == _tree_size(folder / "tree")
    )


def disk_bytes(folder: Path) -> int:
    """What the files below `folder` take on the disk; links are not followed."""
    return sum(os.lstat(path).st_blocks * 512 for path in folder.rglob("*")) if folder.is_dir() else 0


def _archives_intact(folder: Path, identity: dict[str, str]) -> bool:
    manifest = _read_manifest(folder)
    checksums = manifest.get("archives")
    return bool(checksums) and manifest.get("identity") == identity and checksums == _checksums(folder / "archives")


def _read_manifest(folder: Path) -> dict[str, Any]:
    """The part's manifest, {} where there is none that can be read."""
    try:
        found = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _manifest(folder: Path, identity: dict[str, str]) -> dict[str, Any]:
    return {
        "identity": identity,
        "archives": _checksums(folder / "archives"),
        "tree": _tree_size(folder / "tree"),
    }


def _checksums(folder: Path) -> dict[str, str]:
    """sha256 of each file of a flat folder."""
    if not folder.is_dir():
        return {}
    return {path.name: _sha256(path) for path in sorted(folder.iterdir())}


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _tree_size(folder: Path) -> dict[str, int]:
    """Files and bytes in the tree, without what Python compiles there later."""
    sizes = [
        os.lstat(path).st_size
        for path in folder.rglob("*")
        if "__pycache__" not in path.parts and (path.is_symlink() or path.is_file())
    ]
    return {"files": len(sizes), "bytes": sum(sizes)}
