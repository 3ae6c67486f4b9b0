"""Recorded stages: a build that was stopped anywhere continues after the last finished one.

A stage works in `stages/NAME.partial` and is finished by one rename to `stages/NAME`. What it needs again
later it reads back from there, in the same run too, so a continued run sees exactly what an undisturbed one does.
"""

from __future__ import annotations

import contextlib
import copy
import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from edgeprune.atomic import disk_error, remove_leftovers, write_json
from edgeprune.errors import InputError

IDENTITY = "build.json"
STAGES = "stages"
ARTIFACTS = ("model.tflite", "model.keras", "report.html", "report.json", "plan.json", "manifest.json")


class Stages:
    """The stage folder of one build. `identity` says what the build is made from; another build is refused."""

    def __init__(self, folder: Path, identity: dict[str, Any], fresh: bool) -> None:
        self.folder = folder
        self.root = folder / STAGES
        remove_leftovers(folder, ARTIFACTS)
        remove_leftovers(self.root, {IDENTITY})
        if fresh:
            self._clear()
        self._claim(identity)

    def run(self, name: str, work: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
        """Do a stage unless it is done. `work` gets the stage's folder and returns what to remember of it.

        The folder of an interrupted stage is handed to `work` again with what it had written atomically.
        """
        done = self.root / name
        partial = self.root / f"{name}.partial"
        if not done.exists():
            try:
                partial.mkdir(parents=True, exist_ok=True)
                write_json(partial / "result.json", work(partial))
                remove_leftovers(partial)
                os.replace(partial, done)
            except OSError as error:
                raise disk_error(error, partial) from error
        return _read(done / "result.json")

    def within(self, name: str) -> Stages:
        """Stages of their own inside the stage folder, for one of several candidates."""
        inner = copy.copy(self)
        inner.root = self.root / name
        return inner

    def path(self, name: str, file: str) -> Path:
        """A file of a finished stage."""
        return self.root / name / file

    def _clear(self) -> None:
        """Remove an earlier build's stages and artifacts, and nothing else.

        The stages, which say that the folder is ours, go last and at once: stopped anywhere, it can be run again.
        """
        discarded = self.folder / ".stages.discarded"
        if (self.root / IDENTITY).exists():
            for artifact in ARTIFACTS:
                (self.folder / artifact).unlink(missing_ok=True)
            shutil.rmtree(discarded, ignore_errors=True)
            os.replace(self.root, discarded)
        shutil.rmtree(discarded, ignore_errors=True)

    def _claim(self, identity: dict[str, Any]) -> None:
        marker = self.root / IDENTITY
        if marker.exists():
            earlier = _read(marker)
            differs = sorted(key for key in {*earlier, *identity} if earlier.get(key) != identity.get(key))
            if differs:
                raise InputError(
                    f"{self.folder} holds another build (other {', '.join(differs)}); choose another folder with -o, "
                    "or pass --fresh to replace that build"
                )
            return
        # A build that was killed while it claimed the folder leaves the empty one behind.
        names = ARTIFACTS if self.root.is_dir() and not any(self.root.iterdir()) else (*ARTIFACTS, STAGES)
        taken = [name for name in names if (self.folder / name).exists()]
        if taken:
            raise InputError(
                f"{self.folder} already has {', '.join(taken)}, which no build of edgeprune wrote; choose another "
                "folder with -o"
            )
        try:
            write_json(marker, identity)
        except OSError as error:
            raise disk_error(error, marker) from error


def _read(record: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{record} is damaged ({error}); pass --fresh to build again from the start") from error
    return found


def fresh_discards(folder: Path, file: Path) -> bool:
    """Whether a fresh build in `folder` may delete `file`, which an earlier build wrote there."""
    folder, file = folder.resolve(), file.resolve()
    return folder / STAGES in file.parents or (file.parent == folder and file.name in ARTIFACTS)


@contextlib.contextmanager
def only_one_build(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; it goes with the process, however that ends.

    Raises:
        InputError: another process builds there, or `folder` is a file or can't be written.
    """
    try:
        if folder.exists() and not folder.is_dir():
            raise InputError(f"the output {folder} is a file; give a folder with -o")
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / ".lock", "w")  # noqa: SIM115 - held until the build ends
    except OSError as error:
        known = disk_error(error, folder)
        if known is error:
            known = InputError(f"the output folder {folder} can't be made: {error.strerror}; choose another with -o")
        raise known from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"another edgeprune build is running in {folder}; wait for it or choose another -o"
            ) from error
        yield
