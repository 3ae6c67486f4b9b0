"""Reading the arrays of a .npz file without trusting it.

`np.load` allocates what a damaged header asks for and, for object arrays, would run pickled code. Here a member is
read only when its header and its stored size agree.
"""

from __future__ import annotations

import lzma
import math
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from edgeprune.errors import InputError

# What zipfile, its decompressors and numpy's header parser raise on damaged files (all met while fuzzing).
_DAMAGED = (
    OSError,
    EOFError,
    KeyError,
    IndexError,
    MemoryError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    SyntaxError,
    tokenize.TokenError,
    TypeError,
    ValueError,
    lzma.LZMAError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """All arrays of a .npz file by name.

    Raises:
        InputError: the file is missing, damaged, or holds Python objects (pickle).
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return {
                info.filename.removesuffix(".npy"): _read_member(archive, info, path)
                for info in archive.infolist()
                if info.filename.endswith(".npy")
            }
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; give a .npz file with the arrays x and y") from error
    except _DAMAGED as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path} can't be read as a .npz file ({reason}); write it again with numpy.savez") from error


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> np.ndarray:
    with archive.open(info) as stream:
        shape, fortran_order, dtype = _read_header(stream)
        if dtype.hasobject:
            raise InputError(
                f'{path}: the array "{info.filename.removesuffix(".npy")}" holds Python objects (pickle), which are '
                "never loaded; save numbers of one shape, e.g. np.stack(list)"
            )
        expected = dtype.itemsize * math.prod(shape)
        if expected != info.file_size - stream.tell():
            raise ValueError(f"{info.filename}: shape {shape} of {dtype} does not match the stored size")
        # read() checks the CRC at the end of the member.
        content = stream.read()
    flat = np.frombuffer(content, dtype=dtype)
    return flat.reshape(shape[::-1]).T if fortran_order else flat.reshape(shape)


def _read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(stream)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(stream)
    raise ValueError(f"format version {version[0]}.{version[1]} of .npy is not for plain numbers")
