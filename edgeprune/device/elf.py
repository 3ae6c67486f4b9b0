"""The function symbols of an ELF library, read without running it."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_SECTION = struct.Struct("<IIQQQQIIQQ")  # Elf64_Shdr
_SYMBOL = np.dtype(
    [("name", "<u4"), ("info", "u1"), ("other", "u1"), ("section", "<u2"), ("value", "<u8"), ("size", "<u8")]
)
_SYMTAB, _FUNCTION = 2, 2


@dataclass(frozen=True)
class Symbols:
    """Functions in order of address. addresses, sizes: (n,) uint64, relative to the library's start."""

    addresses: np.ndarray
    sizes: np.ndarray
    names: tuple[str, ...]

    def places(self, addresses: np.ndarray) -> np.ndarray:
        """Index of the function that each address lies in, -1 for none: (k,) uint64 -> (k,) int64."""
        if not len(self.names):
            return np.full(len(addresses), -1)
        found = np.searchsorted(self.addresses, addresses, side="right").astype(np.int64) - 1
        inside = (found >= 0) & (addresses - self.addresses[found] < np.maximum(self.sizes[found], 4))
        return np.where(inside, found, -1)

    def matching(self, pattern: re.Pattern[str]) -> list[int]:
        """Addresses of the functions whose names match."""
        return [int(self.addresses[index]) for index, name in enumerate(self.names) if pattern.search(name)]


NONE = Symbols(np.zeros(0, np.uint64), np.zeros(0, np.uint64), ())


def read_symbols(path: Path) -> Symbols:
    """The functions of a 64-bit little-endian library; none when it is stripped or something else."""
    content = path.read_bytes()
    if content[:6] != b"\x7fELF\x02\x01":
        return NONE
    try:
        (offset,) = struct.unpack_from("<Q", content, 0x28)
        size, count = struct.unpack_from("<HH", content, 0x3A)
        sections = [_SECTION.unpack_from(content, offset + index * size) for index in range(count)]
        table = next((section for section in sections if section[1] == _SYMTAB), None)
        if table is None:
            return NONE
        found = np.frombuffer(content, _SYMBOL, count=table[5] // _SYMBOL.itemsize, offset=table[4])
        names = sections[table[6]]
        text = content[names[4] : names[4] + names[5]]
    except (struct.error, ValueError, IndexError):
        return NONE
    found = found[(found["info"] & 15 == _FUNCTION) & (found["section"] != 0)]
    found = found[np.argsort(found["value"], kind="stable")]
    starts = found["name"].tolist()
    return Symbols(
        addresses=found["value"].astype(np.uint64),
        sizes=found["size"].astype(np.uint64),
        names=tuple(text[start : text.index(b"\0", start)].decode("ascii", "replace") for start in starts),
    )
