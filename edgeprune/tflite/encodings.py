"""How many bytes the weights of a file take as they are stored, and would take in other encodings.

TFLite can store what is called `tflite` here; CSR, bitmask, N:M and gzip are what other formats and a download would
need. Tables and names around the weights are left out everywhere.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeprune.tflite.model import TfliteModel, dtype_name, elements, text
from edgeprune.tflite.sparse_format import SparseFormat, format_bytes, rows_format, smallest_format
from edgeprune.tflite.sparse_tensor import dense_values
from edgeprune.tflite.weights import index_bytes, is_weight, stored_values, zero_point

# DENSIFY unpacks these types and fills with 0.
_DENSIFIED = ("float32", "float16", "int8")
_BLOCKS = ((1, 4), (1, 16), (4, 4))
_GROUP = 4
# More elements than a file of this size can stand for: a damaged one must not fill the memory.
_ELEMENTS_PER_BYTE, _LEAST_LIMIT = 256, 1 << 22


@dataclass(frozen=True)
class WeightBytes:
    """The bytes of one weight, values and indices.

    stored: as in the file. dense: every value. tflite: the smallest of `dense` and TFLite's sparse encodings, whose
    form is `tflite_form` ("dense", "sparse", "block 4x4"). unstructured: TFLite's rows of the last axis, as its
    converter writes them, with the narrowest indices. blocks: the same in blocks of outputs x inputs, where they divide
    the shape. Both are empty for types that TFLite can't unpack. csr: SciPy's, outputs x all else, with int32 indices.
    bitmask: one bit per weight and the nonzero values. n_of_m: `n_of_m_pattern` ("2:4") along the last axis, the values
    with two bits each; None where zeros don't lie so. gzip: the dense values by zlib at level 9.
    """

    name: str
    stored: int
    dense: int
    tflite: int
    tflite_form: str
    unstructured: int | None
    blocks: dict[str, int]
    csr: int
    bitmask: int
    n_of_m: int | None
    n_of_m_pattern: str | None
    gzip: int


@dataclass(frozen=True)
class TotalBytes:
    """The sums over all weights; where zeros don't lie N:M, all values count."""

    stored: int
    dense: int
    tflite: int
    csr: int
    bitmask: int
    n_of_m: int
    gzip: int


@dataclass(frozen=True)
class EncodingComparison:
    """weights: largest first, those that share their data once. left_out: names of weights that can't be unpacked."""

    weights: tuple[WeightBytes, ...]
    total: TotalBytes
    left_out: tuple[str, ...]


def compare_encodings(model: TfliteModel) -> EncodingComparison:
    """Weigh all weights of a file that was read; compressing them takes about a second per 20 MB."""
    found, left_out = [], []
    left = max(_LEAST_LIMIT, _ELEMENTS_PER_BYTE * len(model.content))
    for tensor in _own_weights(model):
        left -= elements(tensor)
        data = model.constant(tensor)
        values = _dense(tensor, data) if left >= 0 else None
        if values is None or data is None:
            left_out.append(text(tensor.name))
        else:
            found.append(_weigh(tensor, len(data) + index_bytes(tensor), values))
    found.sort(key=lambda weight: (-weight.stored, weight.name))
    return EncodingComparison(tuple(found), _total(found), tuple(left_out))


def _own_weights(model: TfliteModel) -> Iterator[Any]:
    seen: set[int] = set()
    for graph in model.tree.subgraphs:
        for tensor in graph.tensors:
            if tensor.buffer not in seen and is_weight(model, tensor):
                seen.add(tensor.buffer)
                yield tensor


def _dense(tensor: Any, data: np.ndarray | None) -> np.ndarray | None:
    """The values in the tensor's shape; None where that is not possible: packed types, damaged indices."""
    if data is None or dtype_name(tensor) == "int4":
        return None
    stored = stored_values(tensor, data)
    try:
        return stored.reshape(tensor.shape) if tensor.sparsity is None else dense_values(tensor, stored)
    except ValueError:
        return None


def _weigh(tensor: Any, stored: int, values: np.ndarray) -> WeightBytes:
    size, value_bytes = values.size, values.itemsize
    zero = zero_point(tensor) if values.dtype.kind in "iu" else 0
    nonzero = values != zero
    kept = int(np.count_nonzero(nonzero))
    unstructured, blocks, tflite, form = None, {}, values.nbytes, "dense"
    if dtype_name(tensor) in _DENSIFIED and zero == 0:
        unstructured = format_bytes(nonzero, rows_format(values.shape), value_bytes)
        blocks = {
            f"{rows}x{columns}": format_bytes(nonzero, _block_format(values.shape, rows, columns), value_bytes)
            for rows, columns in _BLOCKS
            if values.shape[0] % rows == 0 and values.shape[-1] % columns == 0
        }
        # No kernel has more than four axes that count; leading ones of others are taken as one.
        narrow = nonzero if nonzero.ndim <= 4 else nonzero.reshape(-1, *nonzero.shape[-3:])
        best, least = smallest_format(narrow, value_bytes)
        if least < tflite:
            tflite, form = least, best.name
    pattern = _pattern(nonzero)
    groups = size // _GROUP
    return WeightBytes(
        name=text(tensor.name),
        stored=stored,
        dense=values.nbytes,
        tflite=tflite,
        tflite_form=form,
        unstructured=unstructured,
        blocks=blocks,
        csr=kept * (value_bytes + 4) + (values.shape[0] + 1) * 4,
        bitmask=-(-size // 8) + kept * value_bytes,
        n_of_m=None if pattern is None else groups * pattern * value_bytes + -(-groups * pattern * 2 // 8),
        n_of_m_pattern=None if pattern is None else f"{pattern}:{_GROUP}",
        gzip=len(zlib.compress(values.tobytes(), 9)),
    )


def _block_format(shape: tuple[int, ...], rows: int, columns: int) -> SparseFormat:
    return rows_format(shape, (rows, *(1,) * (len(shape) - 2), columns))


def _pattern(nonzero: np.ndarray) -> int | None:
    """N of the tightest N:4 along the last axis, 1 to 3; None where some group of four is full or incomplete."""
    if nonzero.shape[-1] % _GROUP:
        return None
    most = max(int(nonzero.reshape(-1, _GROUP).sum(axis=1).max()), 1)
    return most if most < _GROUP else None


def _total(weights: list[WeightBytes]) -> TotalBytes:
    return TotalBytes(
        stored=sum(weight.stored for weight in weights),
        dense=sum(weight.dense for weight in weights),
        tflite=sum(weight.tflite for weight in weights),
        csr=sum(weight.csr for weight in weights),
        bitmask=sum(weight.bitmask for weight in weights),
        n_of_m=sum(weight.dense if weight.n_of_m is None else weight.n_of_m for weight in weights),
        gzip=sum(weight.gzip for weight in weights),
    )
