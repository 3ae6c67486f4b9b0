"""Writing files so that a crash leaves the old file or the new one, never half of one."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import uuid
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

from edgeprune.errors import InputError

# as `replacing` names them: .STEM.8HEX.SUFFIX
_TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{8}(\.[^.]*|)")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` (same suffix); on success it is renamed to `path`.

    The temporary file is flushed to disk before the rename and removed on any error.

    Raises:
        InputError: the disk is full or the folder can't be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}{path.suffix}")
    try:
        yield temporary
        with open(temporary, "rb") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise disk_error(error, path) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def remove_leftovers(folder: Path, names: Container[str] | None = None) -> None:
    """Delete the temporary files that killed processes left in `folder`: those of `names`, or all.

    No other process may be writing there.
    """
    for path in folder.glob(".*"):
        found = _TEMPORARY.fullmatch(path.name)
        if found and (names is None or found[1] + found[2] in names):
            path.unlink(missing_ok=True)


def disk_error(error: OSError, path: Path) -> Exception:
    """Turn an out-of-space or permission error into an InputError; other errors stay as they are."""
    # HDF5 raises a bare OSError that carries the errno only in its text.
    if error.errno in (errno.ENOSPC, errno.EDQUOT) or "errno = 28" in str(error):
        return InputError(f"no space left on the disk while writing {path}; free some space and run the command again")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return InputError(f"{path} can't be written: {error.strerror}; choose another folder with -o")
    return error


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write `text` (UTF-8) to `path` atomically."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, document: Any) -> None:
    """Write one JSON document (indented, NaN refused) to `path` atomically."""
    write_text(path, json.dumps(document, indent=2, allow_nan=False) + "\n")
