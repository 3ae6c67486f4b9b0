"""Function symbols of a library: against one made by hand, and files that are none."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from edgeprune.device.elf import read_symbols

pytestmark = pytest.mark.unit

FUNCTION, OBJECT = 2, 1


def library(symbols: list[tuple[str, int, int, int, int]]) -> bytes:
    """An ELF file with a symbol table: (name, kind, section, address, size) each, and nothing else."""
    names = b"\0"
    table = b""
    for name, kind, section, address, size in symbols:
        table += struct.pack("<IBBHQQ", len(names), kind, 0, section, address, size)
        names += name.encode() + b"\0"
    offsets = (64, 64 + len(table))
    sections = 64 + len(table) + len(names)
    header = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header += struct.pack("<HHIQQQIHHHHHH", 3, 183, 1, 0, 0, sections, 0, 64, 0, 0, 64, 2, 0)
    rows = struct.pack("<IIQQQQIIQQ", 0, 2, 0, 0, offsets[0], len(table), 1, 0, 8, 24)
    rows += struct.pack("<IIQQQQIIQQ", 0, 3, 0, 0, offsets[1], len(names), 0, 0, 1, 0)
    return header + table + names + rows


def test_functions_in_order_of_address(tmp_path: Path) -> None:
    path = tmp_path / "lib.so"
    path.write_bytes(
        library(
            [
                ("later", FUNCTION, 1, 0x200, 16),
                ("first", FUNCTION, 1, 0x100, 8),
                ("data", OBJECT, 1, 0x150, 8),
                ("imported", FUNCTION, 0, 0, 0),
            ]
        )
    )
    found = read_symbols(path)
    assert found.names == ("first", "later")
    assert (found.addresses.tolist(), found.sizes.tolist()) == ([0x100, 0x200], [8, 16])


@pytest.mark.parametrize(
    "content", [b"", b"#!/bin/sh", b"\x7fELF\x01\x01" + bytes(100), b"\x7fELF\x02\x01" + bytes(90)]
)
def test_other_files_have_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "lib.so"
    path.write_bytes(content)
    assert read_symbols(path).names == ()


def test_a_cut_library_has_none(tmp_path: Path) -> None:
    whole = library([("first", FUNCTION, 1, 0x100, 8)])
    path = tmp_path / "lib.so"
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        assert read_symbols(path).names == ()
