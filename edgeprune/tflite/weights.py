"""The weights inside a TFLite file: their bytes, zeros and encodings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeprune.tflite.model import TfliteModel, dtype_name, elements, shape_of, text

# Weight types whose zeros can be counted without unpacking bits; bfloat16 zero is 16 zero bits, as uint16.
_NUMPY_TYPES: dict[str, np.dtype[Any]] = {
    "float32": np.dtype("<f4"),
    "float16": np.dtype("<f2"),
    "bfloat16": np.dtype("<u2"),
    "int8": np.dtype("i1"),
    "uint8": np.dtype("u1"),
    "int16": np.dtype("<i2"),
    "int4": np.dtype("u1"),
}


@dataclass(frozen=True)
class WeightTensor:
    """One stored weight of rank 2 or more.

    zero_fraction: share of elements that are zero, in the dense form. encoding: "dense", "sparse" (single
    elements) or "block 1x4" and the like (blocks of a sparse encoding). stored_bytes: values and sparse indices.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    zero_fraction: float
    encoding: str
    stored_bytes: int

    @property
    def is_sparse(self) -> bool:
        """Whether the file stores only the nonzero part."""
        return self.encoding != "dense"


def weight_tensors(model: TfliteModel) -> tuple[WeightTensor, ...]:
    """All weights of all subgraphs, in file order: constants of rank >= 2 with more than one element."""
    return tuple(
        _describe(tensor, data)
        for graph in model.tree.subgraphs
        for tensor in graph.tensors
        if is_weight(model, tensor)
        for data in (model.constant(tensor),)
        if data is not None
    )


def is_weight(model: TfliteModel, tensor: Any) -> bool:
    """Whether a TensorT is a stored weight: a constant of rank >= 2 with more than one number."""
    numbers = dtype_name(tensor) in _NUMPY_TYPES and len(shape_of(tensor)) >= 2 and elements(tensor) > 1
    return numbers and model.constant(tensor) is not None


def stored_values(tensor: Any, data: np.ndarray) -> np.ndarray:
    """The stored numbers of a weight, (n,); bfloat16 as uint16, two int4 per uint8. `data` as `constant` gives it."""
    kind = _NUMPY_TYPES[dtype_name(tensor)]
    return np.frombuffer(data.tobytes(), dtype=kind, count=len(data) // kind.itemsize)


def encoding_of(tensor: Any) -> str:
    """How a constant TensorT is stored: "dense", "sparse", or "block 1x4" with the block's shape."""
    if tensor.sparsity is None:
        return "dense"
    if tensor.sparsity.blockMap is None or not len(tensor.sparsity.blockMap):
        return "sparse"
    # The last len(blockMap) dimensions of the metadata are the block's own (schema.fbs, SparsityParameters).
    dims = (tensor.sparsity.dimMetadata or [])[-len(tensor.sparsity.blockMap) :]
    sizes = {int(axis): dim.denseSize for axis, dim in zip(tensor.sparsity.blockMap, dims, strict=False)}
    # Damaged files name axes that the tensor doesn't have.
    return "block " + "x".join(str(sizes.get(axis, 1)) for axis in range(len(shape_of(tensor))))


def index_bytes(tensor: Any) -> int:
    """Bytes of the index arrays of a sparse TensorT; 0 for a dense one."""
    if tensor.sparsity is None:
        return 0
    return sum(
        int(np.asarray(array.values).nbytes)
        for dim in tensor.sparsity.dimMetadata or []
        for array in (dim.arraySegments, dim.arrayIndices)
        if array is not None and array.values is not None
    )


def zeros_in(tensor: Any, data: np.ndarray) -> int:
    """Elements of a constant TensorT that stand for the real value 0, in its dense form; `data` as `constant` gives it.

    0 for types whose zeros can't be told.
    """
    if dtype_name(tensor) not in _NUMPY_TYPES:
        return 0
    return elements(tensor) - min(_nonzeros(tensor, data), elements(tensor))


def _describe(tensor: Any, data: np.ndarray) -> WeightTensor:
    return WeightTensor(
        name=text(tensor.name),
        shape=shape_of(tensor),
        dtype=dtype_name(tensor),
        zero_fraction=zeros_in(tensor, data) / elements(tensor),
        encoding=encoding_of(tensor),
        stored_bytes=len(data) + index_bytes(tensor),
    )


def _nonzeros(tensor: Any, data: np.ndarray) -> int:
    """Count stored elements that do not stand for the real value 0."""
    dtype = dtype_name(tensor)
    if dtype == "int4":  # two elements per byte, the low half first; an odd count leaves the last half unused
        halves = np.stack([data & 15, data >> 4], axis=1).reshape(-1)
        return int(np.count_nonzero(halves[: elements(tensor)]))
    values = stored_values(tensor, data)
    integers = values.dtype.kind in "iu"
    return int(np.count_nonzero(values != zero_point(tensor))) if integers else int(np.count_nonzero(values))


def zero_point(tensor: Any) -> int:
    """The stored integer that means 0: per-channel weights are symmetric, older uint8 ones have one zero point."""
    points = tensor.quantization.zeroPoint if tensor.quantization is not None else None
    return int(points[0]) if points is not None and len(points) == 1 else 0
