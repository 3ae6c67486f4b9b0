"""Stores the weights of a TFLite file in the smallest form that every runtime loads, tensor by tensor.

A weight with zeros is stored in one of TFLite's sparse encodings where that takes fewer bytes, and unpacked by a
DENSIFY operation when the model loads. One encoded weight is enough for XNNPACK to look for sparse kernels, which go by
the zeros of the unpacked weights. Dense layers with very few weights read blocks of four or single weights as they are
stored, where that takes fewer instructions.

All forms written here were loaded, run and compared on x86-64 and on an emulated Raspberry Pi 4 with tflite-runtime
2.14 and ai-edge-litert 1.4, 2.1.6 and 2.3 (float16 where `modes.allowed_modes` allows it).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgeprune.cost.sparse_encoding import UNPACKING_BYTES
from edgeprune.export.sparse_dense_layers import direct_format
from edgeprune.tflite.flatbuffer import parse_model
from edgeprune.tflite.inspect import MIN_RUNTIME, min_runtime_version
from edgeprune.tflite.model import TfliteModel, dtype_name, text
from edgeprune.tflite.op_versions import runtime_release
from edgeprune.tflite.pack import pack
from edgeprune.tflite.sparse_format import SparseFormat, smallest_format
from edgeprune.tflite.sparse_tensor import encode

_DTYPES = {"float32": "<f4", "float16": "<f2", "int8": "i1"}
_READERS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
# FULLY_CONNECTED with a weight that stays sparse (runtime_version.cc: TensorFlow 2.3; DENSIFY: 2.2).
_SPARSE_DENSE_LAYER_VERSION = 8
_DENSIFY_SINCE, _DIRECT_SINCE = (2, 2), (2, 3)


@dataclass(frozen=True)
class _Weight:
    """A constant that may be encoded. tensor: its index in the graph. values: dense, of its own shape and dtype.

    layers: the operations that compute with it.
    """

    graph: Any
    tensor: int
    values: np.ndarray
    layers: tuple[Any, ...]


def encode_weights(content: bytes) -> bytes:
    """The same model with each weight stored in the fewest bytes; the same outputs.

    A file in which nothing gets smaller comes back as it is; another one is written anew.

    Args:
        content: a file of `convert` whose weights are all dense.
    """
    model = parse_model(content, "the converted model")
    if any(buffer.offset > 1 for buffer in model.tree.buffers):  # data behind the flatbuffer: a file above 2 GB
        return content
    needs: list[tuple[int, int]] = []
    for graph in model.tree.subgraphs:
        unpackers = []
        for weight in _weights(model, graph):
            direct = direct_format(weight.values, [_rows(model, graph, layer) for layer in weight.layers])
            if direct is not None:
                _store(model, weight, direct)
                for layer in weight.layers:
                    layer.opcodeIndex = _op_code(model, "FULLY_CONNECTED", _SPARSE_DENSE_LAYER_VERSION)
                needs.append(_DIRECT_SINCE)
                continue
            form, size = smallest_format(weight.values != 0, weight.values.itemsize)
            if size + UNPACKING_BYTES < weight.values.nbytes:
                unpackers.append(_unpack(model, weight))
                _store(model, weight, form)
                needs.append(_DENSIFY_SINCE)
        graph.operators = unpackers + graph.operators
    if not needs:
        return content
    _note_runtime(model, max(needs))
    # Writing a file anew adds a few bytes of its own.
    return min(content, pack(model.tree), key=len)


def _weights(model: TfliteModel, graph: Any) -> Iterator[_Weight]:
    """The weights of convolutions and dense layers that have a buffer of their own."""
    shared = np.bincount([tensor.buffer for one in model.tree.subgraphs for tensor in one.tensors])
    readers: dict[int, list[tuple[Any, int]]] = {}
    for operator in graph.operators:
        for place, tensor in enumerate(operator.inputs):
            readers.setdefault(int(tensor), []).append((operator, place))
    kept = {int(tensor) for tensor in graph.outputs}
    for index, tensor in enumerate(graph.tensors):
        data = model.constant(tensor)
        dtype = _DTYPES.get(dtype_name(tensor))
        if data is None or dtype is None or tensor.sparsity is not None or shared[tensor.buffer] > 1 or index in kept:
            continue
        uses = readers.get(index, [])
        if any(model.op_name(operator) == "DEQUANTIZE" for operator, _ in uses):
            unpacked = [int(operator.outputs[0]) for operator, _ in uses]
            uses = [use for output in unpacked for use in readers.get(output, [])] if kept.isdisjoint(unpacked) else []
        if uses and all(_takes(model, graph, operator, place, tensor) for operator, place in uses):
            values = np.frombuffer(data.tobytes(), dtype).reshape(tensor.shape)
            yield _Weight(graph, index, values, tuple(operator for operator, _ in uses))


def _takes(model: TfliteModel, graph: Any, operator: Any, place: int, tensor: Any) -> bool:
    """Whether an operation loads with this weight behind DENSIFY."""
    name = model.op_name(operator)
    if name not in _READERS or place != 1:
        return False
    if dtype_name(tensor) != "int8":
        return True
    # Full-int8 dense layers stop ai-edge-litert 2.3 from loading, and so do int8 weights with float activations.
    points = tensor.quantization.zeroPoint if tensor.quantization is not None else None
    integer = dtype_name(graph.tensors[operator.inputs[0]]) == "int8"
    return name != "FULLY_CONNECTED" and integer and (points is None or not np.any(points))


def _rows(model: TfliteModel, graph: Any, layer: Any) -> int | None:
    """Rows of inputs that a float32 dense layer multiplies its weight with; None for what can't read it sparsely."""
    if model.op_name(layer) != "FULLY_CONNECTED":
        return None
    data, weight = graph.tensors[layer.inputs[0]], graph.tensors[layer.inputs[1]]
    if dtype_name(weight) != "float32" or model.constant(weight) is None:
        return None
    if model.op_code(layer).version > _SPARSE_DENSE_LAYER_VERSION:
        return None
    return int(np.prod(data.shape)) // int(weight.shape[1])


def _unpack(model: TfliteModel, weight: _Weight) -> Any:
    """A DENSIFY operation whose output takes the weight's place."""
    graph, stored = weight.graph, weight.graph.tensors[weight.tensor]
    dense = schema.TensorT(
        shape=stored.shape,
        type=stored.type,
        name=f"dense{weight.tensor}",
        quantization=stored.quantization,
        shapeSignature=stored.shapeSignature,
        hasRank=stored.hasRank,
    )
    # What computes reads the scales; twice in the file, they would take 12 bytes per channel more.
    stored.quantization = None
    graph.tensors.append(dense)
    for operator in graph.operators:
        operator.inputs = np.where(operator.inputs == weight.tensor, len(graph.tensors) - 1, operator.inputs)
    return schema.OperatorT(
        opcodeIndex=_op_code(model, "DENSIFY", 1),
        inputs=np.array([weight.tensor], np.int32),
        outputs=np.array([len(graph.tensors) - 1], np.int32),
        builtinOptionsType=schema.BuiltinOptions.DensifyOptions,
        builtinOptions=schema.DensifyOptionsT(),
    )


def _store(model: TfliteModel, weight: _Weight, form: SparseFormat) -> None:
    values, parameters = encode(weight.values, form)
    tensor = weight.graph.tensors[weight.tensor]
    model.tree.buffers[tensor.buffer].data = np.frombuffer(values.tobytes(), np.uint8)
    tensor.sparsity = parameters


def _op_code(model: TfliteModel, name: str, version: int) -> int:
    """The index of an operation's code, added where the file has none yet."""
    number = getattr(schema.BuiltinOperator, name)
    codes = model.tree.operatorCodes
    for index, code in enumerate(codes):
        if code.builtinCode == number and code.version == version:
            return index
    codes.append(schema.OperatorCodeT(builtinCode=number, deprecatedBuiltinCode=min(number, 127), version=version))
    return len(codes) - 1


def _note_runtime(model: TfliteModel, release: tuple[int, int]) -> None:
    """Raise the least runtime that the file notes, if it notes one."""
    noted = min_runtime_version(model)
    known = runtime_release("tensorflow", noted) if noted else None
    if known is None or known >= release:
        return
    for entry in model.tree.metadata:
        if text(entry.name) == MIN_RUNTIME:
            version = f"{release[0]}.{release[1]}.0".encode()
            model.tree.buffers[entry.buffer].data = np.frombuffer(version.ljust(16, b"\0"), np.uint8)
