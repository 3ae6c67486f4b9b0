"""Bytes per element of each quantization mode, in the file, in memory and between operations."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Precision:
    """Byte widths of a quantization mode.

    kernel_file: a kernel element in the file. kernel_ram: the same once loaded (float16 is expanded to float32).
    channel_file: what each output channel adds: the bias, and scale (4 bytes) and zero point (8 bytes) of
    the kernel, for int8 of the bias too. activation: an element between operations.
    """

    kernel_file: int
    kernel_ram: int
    channel_file: int
    activation: int


PRECISIONS = {
    "none": Precision(kernel_file=4, kernel_ram=4, channel_file=4, activation=4),
    "float16": Precision(kernel_file=2, kernel_ram=4, channel_file=2, activation=4),
    "dynamic": Precision(kernel_file=1, kernel_ram=1, channel_file=16, activation=4),
    "int8": Precision(kernel_file=1, kernel_ram=1, channel_file=28, activation=1),
}
