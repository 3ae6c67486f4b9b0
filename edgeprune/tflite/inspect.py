"""What is inside a TFLite file, as one record."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from edgeprune.tflite.activations import peak_arena_bytes, unpacked_weight_bytes
from edgeprune.tflite.flatbuffer import read_model
from edgeprune.tflite.model import TfliteModel, dtype_name, shape_of, text
from edgeprune.tflite.quantization import Quantization, quantization_of
from edgeprune.tflite.weights import WeightTensor, index_bytes, weight_tensors

# The metadata entry in which the converter notes the least TensorFlow version.
MIN_RUNTIME = "min_runtime_version"


@dataclass(frozen=True)
class OpCount:
    """One kind of operation of the main subgraph, at its version, and how often it occurs."""

    name: str
    version: int
    count: int


@dataclass(frozen=True)
class PortInfo:
    """An input or output of the main subgraph. shape: -1 where only known at run time.

    scale and zero_point are None unless the tensor is quantized.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float | None
    zero_point: int | None


@dataclass(frozen=True)
class TfliteSummary:
    """What a TFLite file holds. Sizes are in bytes.

    ops: kinds of operations, in order of first appearance. constant_bytes: values of constant tensors by dtype,
    shared buffers counted once, under the dtype that uses them first. sparse_index_bytes: positions of nonzero
    values. other_bytes: the rest of the file (graph, names, metadata). peak_arena_bytes: activations, see
    `activations.peak_arena_bytes`. min_runtime_version: the TensorFlow version whose TFLite runs it, as the
    converter noted it. custom_ops: operations that TFLite itself does not have; Flex ones start with "Flex".
    """

    size_bytes: int
    schema_version: int
    ops: tuple[OpCount, ...]
    tensors: int
    constant_bytes: dict[str, int]
    sparse_index_bytes: int
    other_bytes: int
    weights: tuple[WeightTensor, ...]
    quantization: Quantization
    inputs: tuple[PortInfo, ...]
    outputs: tuple[PortInfo, ...]
    peak_arena_bytes: int
    unpacked_weight_bytes: int
    min_runtime_version: str | None
    dynamic_tensors: tuple[str, ...]
    custom_ops: tuple[str, ...]
    subgraphs: tuple[str, ...]
    signatures: tuple[str, ...]

    @property
    def zero_fraction(self) -> float:
        """Share of zeros among all elements of `weights`; 0 for a file without weights."""
        counts = [_positive_product(weight.shape) for weight in self.weights]
        zeros = sum(weight.zero_fraction * count for weight, count in zip(self.weights, counts, strict=True))
        return zeros / sum(counts) if counts else 0.0


def inspect(path: Path) -> TfliteSummary:
    """Read a TFLite file and sum up what it holds.

    Raises:
        InputError: the file is missing, not TFLite, or damaged.
    """
    return summarize(read_model(path))


def summarize(model: TfliteModel) -> TfliteSummary:
    """Sum up a file that was already read."""
    tree = model.tree
    every_tensor = [tensor for graph in tree.subgraphs for tensor in graph.tensors]
    constant_bytes = _constant_bytes(model, every_tensor)
    # A buffer may be shared, and so may its indices; damaged files could claim more than there is.
    sparse_bytes = sum(index_bytes(tensor) for tensor in every_tensor)
    counts = Counter(
        (name, model.op_code(operator).version)
        for operator, name in zip(model.main.operators, model.op_names, strict=True)
    )
    return TfliteSummary(
        size_bytes=len(model.content),
        schema_version=tree.version,
        ops=tuple(OpCount(name, version, count) for (name, version), count in counts.items()),
        tensors=len(model.main.tensors),
        constant_bytes=constant_bytes,
        sparse_index_bytes=sparse_bytes,
        other_bytes=max(0, len(model.content) - sum(constant_bytes.values()) - sparse_bytes),
        weights=weight_tensors(model),
        quantization=quantization_of(model),
        inputs=tuple(_port(model.main.tensors[index]) for index in model.main.inputs),
        outputs=tuple(_port(model.main.tensors[index]) for index in model.main.outputs),
        peak_arena_bytes=peak_arena_bytes(model),
        unpacked_weight_bytes=unpacked_weight_bytes(model),
        min_runtime_version=min_runtime_version(model),
        dynamic_tensors=tuple(text(tensor.name) for tensor in model.main.tensors if -1 in shape_of(tensor)),
        custom_ops=tuple(
            dict.fromkeys(
                model.op_name(operator)
                for graph in tree.subgraphs
                for operator in graph.operators
                if model.is_custom(operator)
            )
        ),
        subgraphs=tuple(text(graph.name) for graph in tree.subgraphs),
        signatures=tuple(text(signature.signatureKey) for signature in tree.signatureDefs),
    )


def min_runtime_version(model: TfliteModel) -> str | None:
    """The converter's own note of the least TensorFlow version, such as "2.3.0"; None without one."""
    for entry in model.tree.metadata:
        if text(entry.name) == MIN_RUNTIME:
            data = model.tree.buffers[entry.buffer].data
            # The converter reserves 16 bytes and fills the rest with zeros.
            noted = text(bytes(data).rstrip(b"\0")) if data is not None else ""
            return noted or None
    return None


def _constant_bytes(model: TfliteModel, tensors: list[Any]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    seen: set[int] = set()
    for tensor in tensors:
        data = model.constant(tensor)
        if data is not None and tensor.buffer not in seen:
            seen.add(tensor.buffer)
            sizes[dtype_name(tensor)] = sizes.get(dtype_name(tensor), 0) + len(data)
    return sizes


def _port(tensor: Any) -> PortInfo:
    scales = tensor.quantization.scale if tensor.quantization is not None else None
    points = tensor.quantization.zeroPoint if tensor.quantization is not None else None
    return PortInfo(
        name=text(tensor.name),
        shape=shape_of(tensor),
        dtype=dtype_name(tensor),
        scale=float(scales[0]) if scales is not None and len(scales) and isfinite(scales[0]) else None,
        zero_point=int(points[0]) if points is not None and len(points) else None,
    )


def _positive_product(shape: tuple[int, ...]) -> int:
    product = 1
    for size in shape:
        product *= max(size, 1)
    return product
