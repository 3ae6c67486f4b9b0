"""Named records of arrays and a JSON document: one .npz file each in a folder, or in memory."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeprune.atomic import remove_leftovers, replacing
from edgeprune.data.npz import read_npz
from edgeprune.errors import InputError

_DOCUMENT = "document"


@dataclass(frozen=True, eq=False)
class Record:
    """document: what JSON can say. groups: arrays by name, in order."""

    document: dict[str, Any]
    groups: Mapping[str, tuple[np.ndarray, ...]]


class Records:
    """Keeps records until the process ends or, with a folder, for good. Files are written whole or not at all.

    Raises:
        InputError: the folder can't be made.
    """

    def __init__(self, folder: str | Path | None) -> None:
        self._folder = None if folder is None else Path(folder)
        self._held: dict[str, Record] = {}
        if self._folder is not None:
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise InputError(
                    f"find_ticket: folder={str(folder)!r} can't be made ({error.strerror}); give another folder"
                ) from error
            remove_leftovers(self._folder)

    def __contains__(self, name: str) -> bool:
        return name in self._held if self._folder is None else (self._folder / f"{name}.npz").exists()

    def put(self, name: str, record: Record) -> None:
        """Keep a record, in the place of an older one of that name.

        Raises:
            InputError: the disk is full or the folder can't be written.
        """
        if self._folder is None:
            self._held[name] = record
            return
        arrays = {f"{group}_{n}": array for group, own in record.groups.items() for n, array in enumerate(own)}
        head = {"content": record.document, "groups": {group: len(own) for group, own in record.groups.items()}}
        with replacing(self._folder / f"{name}.npz") as temporary:
            np.savez(temporary, **{_DOCUMENT: np.array(json.dumps(head))}, **arrays)  # type: ignore[arg-type]

    def get(self, name: str) -> Record:
        """Read a record.

        Raises:
            InputError: it is missing or damaged.
        """
        if self._folder is None:
            return self._held[name]
        path = self._folder / f"{name}.npz"
        try:
            stored = read_npz(path)
            head = json.loads(str(stored[_DOCUMENT]))
            groups = {
                group: tuple(stored[f"{group}_{n}"] for n in range(count)) for group, count in head["groups"].items()
            }
            return Record(head["content"], groups)
        except (InputError, KeyError, ValueError) as error:
            reason = f"it has no {error}" if isinstance(error, KeyError) else str(error.__cause__ or error)
            raise InputError(
                f"find_ticket: the record {path} can't be read ({reason}); it was written whole, so check the disk, "
                "then start again in another folder"
            ) from error
