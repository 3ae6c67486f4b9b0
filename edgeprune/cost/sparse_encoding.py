"""Bytes of TFLite's sparse encoding before there is a file, from how many weights of each kernel are zero.

`edgeprune.export.encode_weights` stores a kernel in the smallest of many forms. Zeros that lie anywhere leave two: rows
of inputs, or rows of outputs, of which only the nonzero values are stored, with one index each and one segment per row.
Index arrays take the narrowest of uint8, uint16 and int32. Zeros in blocks or whole rows take less than this says.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edgeprune.cost.precision import PRECISIONS
from edgeprune.tflite.sparse_format import width

# A DENSIFY operation with its output tensor and the tables that describe the encoding: 230 to 305 bytes.
UNPACKING_BYTES = 260


@dataclass(frozen=True)
class SparseKernel:
    """A kernel as TFLite stores it: `rows` x `columns` weights, `kept` of them not zero. Columns are inputs.

    channels: outputs. dense_layer: whether a FULLY_CONNECTED reads it.
    """

    rows: int
    columns: int
    kept: int
    channels: int
    dense_layer: bool

    @property
    def size(self) -> int:
        """Number of weights."""
        return self.rows * self.columns


def encoded_bytes(kernel: SparseKernel, value_bytes: int) -> int:
    """Values and indices of a kernel in the sparse encoding."""
    rows = ((kernel.rows, kernel.columns), (kernel.size // kernel.channels, kernel.channels))
    indices = (kernel.kept * width(length - 1) + (count + 1) * width(kernel.kept) for count, length in rows)
    return kernel.kept * value_bytes + min(indices)


def saved_bytes(kernels: Iterable[SparseKernel], quantize: str) -> int:
    """What zeros take off a file in a quantization mode, none of whose weights the sparse encoding makes larger."""
    return sum(_saved(kernel, quantize) for kernel in kernels)


def unpacked_bytes(kernels: Iterable[SparseKernel], quantize: str) -> int:
    """RAM that the encoding costs on top of loaded dense weights: float16 is unpacked to dense float16 before it is
    made float32, and the runtime keeps both."""
    if quantize != "float16":
        return 0
    return sum(kernel.size * PRECISIONS[quantize].kernel_file for kernel in kernels if _saved(kernel, quantize))


def _saved(kernel: SparseKernel, quantize: str) -> int:
    # no runtime loads full-int8 FULLY_CONNECTED with sparse weights; dynamic is never combined with them
    if quantize == "dynamic" or (quantize == "int8" and kernel.dense_layer):
        return 0
    value = PRECISIONS[quantize].kernel_file
    return max(kernel.size * value - encoded_bytes(kernel, value) - UNPACKING_BYTES, 0)
