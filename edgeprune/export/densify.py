"""Stores tensors densely whose sparse encoding doesn't pay, or which no runtime loads that way.

The converter encodes every weight with 30 % zeros or more. An index takes one byte or more beside each value, so int8
with half of its weights zero grows by that; and full-int8 FULLY_CONNECTED behind DENSIFY does not load (ai-edge-litert
2.3: "failed to delegate FULLY_CONNECTED").
"""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgeprune.cost.sparse_encoding import unpacking_bytes
from edgeprune.tflite.flatbuffer import IDENTIFIER, parse_model
from edgeprune.tflite.model import TfliteModel, dense_bytes, dtype_name
from edgeprune.tflite.sparse_tensor import dense_values
from edgeprune.tflite.weights import index_bytes

_VALUES = {"float32": "<f4", "float16": "<f2", "int8": "i1"}


def densify_where_it_pays(content: bytes) -> bytes:
    """The same model; sparse tensors stay sparse only where that is smaller and loads.

    A file without such tensors comes back as it is; another one is written anew.
    """
    model = parse_model(content, "the converted model")
    if any(buffer.offset > 1 for buffer in model.tree.buffers):  # data behind the flatbuffer: a file above 2 GB
        return content
    dense: dict[int, int] = {}
    for graph in model.tree.subgraphs:
        unpackers: dict[int, list[Any]] = {}
        for operator in graph.operators:
            if model.op_name(operator) == "DENSIFY":
                unpackers.setdefault(int(operator.inputs[0]), []).append(operator)
        gone = []
        for source, own in unpackers.items():
            if _in_vain(model, graph, source, own):
                _store_dense(model, graph.tensors[source], dense)
                gone += own
        _remove_unpackers(model, graph, gone)
    return _packed(model.tree) if dense else content


def _in_vain(model: TfliteModel, graph: Any, source: int, unpackers: list[Any]) -> bool:
    """Whether the tensor `source`, which is read by the DENSIFY operations `unpackers`, should be stored densely."""
    tensor = graph.tensors[source]
    data = model.constant(tensor)
    if data is None or tensor.sparsity is None or dtype_name(tensor) not in _VALUES:
        return False
    unpacked = {int(operator.outputs[0]) for operator in unpackers}
    readers = [reader for reader in graph.operators if not unpacked.isdisjoint(reader.inputs)]
    if dtype_name(tensor) == "int8" and any(model.op_name(reader) == "FULLY_CONNECTED" for reader in readers):
        return True
    scales = 0 if tensor.quantization is None or tensor.quantization.scale is None else len(tensor.quantization.scale)
    return len(data) + index_bytes(tensor) + len(unpackers) * unpacking_bytes(scales) >= dense_bytes(tensor)


def _store_dense(model: TfliteModel, tensor: Any, dense: dict[int, int]) -> None:
    """Give a sparse tensor a buffer with all its values. dense: such buffers by the sparse ones; both may be shared."""
    buffers = model.tree.buffers
    if tensor.buffer not in dense:
        stored = np.asarray(model.constant(tensor)).view(_VALUES[dtype_name(tensor)])
        values = dense_values(tensor, stored).reshape(-1).view(np.uint8)
        dense[tensor.buffer] = len(buffers)
        buffers.append(schema.BufferT(data=values))
    shared = sum(other.buffer == tensor.buffer for graph in model.tree.subgraphs for other in graph.tensors)
    if shared == 1:
        buffers[tensor.buffer].data = None
    tensor.buffer, tensor.sparsity = dense[tensor.buffer], None


def _remove_unpackers(model: TfliteModel, graph: Any, gone: list[Any]) -> None:
    """Remove DENSIFY operations and their outputs; what read an output reads the input. All tensor indices move up."""
    sources = {int(operator.outputs[0]): int(operator.inputs[0]) for operator in gone}
    keep = np.ones(len(graph.tensors), dtype=bool)
    keep[list(sources)] = False
    # the last entry is for -1, an optional input that is left out
    moved = np.append(np.cumsum(keep) - 1, -1).astype(np.int32)
    moved[list(sources)] = moved[list(sources.values())]
    graph.tensors = [tensor for tensor, kept in zip(graph.tensors, keep, strict=True) if kept]
    graph.operators = [operator for operator in graph.operators if not any(operator is one for one in gone)]
    graph.inputs, graph.outputs = moved[graph.inputs], moved[graph.outputs]
    for operator in graph.operators:
        operator.inputs, operator.outputs = moved[operator.inputs], moved[operator.outputs]
        if operator.intermediates is not None and len(operator.intermediates):
            operator.intermediates = moved[operator.intermediates]
    for signature in model.tree.signatureDefs:
        if model.tree.subgraphs[signature.subgraphIndex] is graph:
            for entry in (*(signature.inputs or ()), *(signature.outputs or ())):
                entry.tensorIndex = int(moved[entry.tensorIndex])


def _packed(tree: Any) -> bytes:
    size = sum(0 if buffer.data is None else len(buffer.data) for buffer in tree.buffers)
    builder = flatbuffers.Builder(size + (1 << 16))
    builder.Finish(tree.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())
