"""Bytes of TFLite's sparse encoding, by arithmetic: nonzero values, their column indices and one segment per row.

A kernel [out, h, w, in] is stored as rows of its last axis, compressed row by row (SPARSE_CSR); the converter encodes
kernels with 30 % zeros or more, and `edgeprune.export.densify` undoes that where it doesn't pay. Each index array takes
the narrowest of uint8, uint16 and int32 that holds it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edgeprune.cost.precision import PRECISIONS

# From this share of zeros on the converter encodes a tensor (TensorFlow 2.21, dense_to_sparse.cc).
LEAST_ZEROS = 0.3
# A DENSIFY operation with its output tensor: 274 to 314 bytes, mostly the tensor's name; a scale and a zero point of
# each channel are written again.
_UNPACKING_BYTES = 300
_QUANTIZED_CHANNEL_BYTES = 12


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


def unpacking_bytes(quantized_channels: int = 0) -> int:
    """What the file grows by for one operation that unpacks a tensor of that many scales (0: a float tensor)."""
    return _UNPACKING_BYTES + _QUANTIZED_CHANNEL_BYTES * quantized_channels


def encoded_bytes(kernel: SparseKernel, value_bytes: int) -> int:
    """Values and indices of a kernel in the sparse encoding."""
    indices = kernel.kept * _width(kernel.columns - 1)
    segments = (kernel.rows + 1) * _width(kernel.kept)
    return kernel.kept * value_bytes + indices + segments


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
    integer = quantize == "int8"
    # no runtime loads full-int8 FULLY_CONNECTED with sparse weights; dynamic is never combined with them
    if quantize == "dynamic" or (integer and kernel.dense_layer):
        return 0
    if kernel.size - kernel.kept < LEAST_ZEROS * kernel.size:
        return 0
    value = PRECISIONS[quantize].kernel_file
    stored = encoded_bytes(kernel, value) + unpacking_bytes(kernel.channels if integer else 0)
    return max(kernel.size * value - stored, 0)


def _width(largest: int) -> int:
    """Bytes of an index array whose largest entry is `largest`."""
    return 1 if largest < 1 << 8 else 2 if largest < 1 << 16 else 4
