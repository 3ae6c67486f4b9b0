"""Beginnings of programs."""

from __future__ import annotations

import struct


def elf(machine: int = 183, size: int = 2) -> bytes:
    """The header of a program for a machine (elf.h): 183 AArch64, 40 ARM; size 2: 64 bit."""
    return b"\x7fELF" + bytes([size, 1, 1]) + bytes(9) + struct.pack("<HH", 3, machine) + bytes(44)
