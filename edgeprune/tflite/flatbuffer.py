"""Reading a TFLite file that may be anything: a crash, a hang or an out-of-memory is never the answer."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from edgeprune.errors import InputError
from edgeprune.tflite.model import TfliteModel, dense_bytes, dtype_name, elements
from edgeprune.tflite.verify import Damaged, verify

IDENTIFIER = b"TFL3"
# Offsets in a flatbuffer are 32 bits wide; the format's own limit.
MAX_BYTES = 2**31 - 1
# No tensor of a runnable model comes close; keeps sums of tensor sizes inside 64 bits.
_MAX_ELEMENTS = 2**40
_MAX_RANK = 64
# Signatures of one model share weights; more than this many times the file is not sharing any more.
_MAX_SHARING = 64

# What the generated reader raises on offsets that `verify` does not follow (inside operator options):
# struct.error for a scalar, ValueError (numpy) for a vector beyond the end, TypeError for a negative position.
_READER_ERRORS = (struct.error, ValueError, TypeError)


def read_model(path: Path) -> TfliteModel:
    """Read and check a TFLite file.

    Raises:
        InputError: the file is missing, unreadable, not TFLite, or damaged.
    """
    return parse_model(_read_bytes(path), path.name)


def parse_model(content: bytes, name: str) -> TfliteModel:
    """Check the bytes of a TFLite file. `name` is used in messages.

    Raises:
        InputError: the bytes are not TFLite, or damaged.
    """
    if len(content) < 8 or content[4:8] != IDENTIFIER:
        received = "it is empty" if not content else f'it starts with {content[:8]!r}, without "TFL3" at byte 4'
        raise InputError(f"{name} is not a TFLite model: {received}; give a .tflite file")
    try:
        verify(content)
        tree = schema.ModelT.InitFromPackedBuf(content)
        _normalize(tree)
        model = TfliteModel(name, content, tree)
        _check_indices(model)
    except Damaged as error:
        raise InputError(f"{name} is damaged: {error}; convert the model again or copy the file again") from error
    except _READER_ERRORS as error:
        raise InputError(
            f"{name} is damaged: an operation's options lie outside the file ({error}); "
            "convert the model again or copy the file again"
        ) from error
    return model


def _read_bytes(path: Path) -> bytes:
    try:
        if not path.exists():
            raise InputError(f"{path} does not exist; give the path of a .tflite file")
        if not path.is_file():
            raise InputError(f"{path} is not a file; give the path of a .tflite file")
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path} has {path.stat().st_size} bytes; a TFLite model has at most {MAX_BYTES}")
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}; check its name and permissions") from error


def _normalize(tree: Any) -> None:
    """Make absent lists empty, so that readers need no case for None."""
    for owner, fields in (
        ((tree,), ("operatorCodes", "subgraphs", "buffers", "metadata", "signatureDefs")),
        (tree.subgraphs or (), ("tensors", "inputs", "outputs", "operators")),
        ([operator for graph in tree.subgraphs or () for operator in graph.operators or ()], ("inputs", "outputs")),
    ):
        for item in owner:
            for field in fields:
                if getattr(item, field) is None:
                    setattr(item, field, [])


def _check_indices(model: TfliteModel) -> None:
    """Check that indices name existing parts and that tensors agree with their data."""
    tree = model.tree
    if not tree.subgraphs:
        raise Damaged("it holds no graph")
    if not tree.buffers:
        raise Damaged("it holds no buffers")
    for number, graph in enumerate(tree.subgraphs):
        where = f"subgraph {number}"
        for position, operator in enumerate(graph.operators):
            if operator.opcodeIndex >= len(tree.operatorCodes):
                raise Damaged(f"operation {position} of {where} has the unknown code {operator.opcodeIndex}")
            # -1 stands for an operand that is left out, such as a missing bias.
            _check_range((*operator.inputs, *operator.outputs), -1, len(graph.tensors), f"operation {position}")
        _check_range((*graph.inputs, *graph.outputs), 0, len(graph.tensors), where)
        for index, tensor in enumerate(graph.tensors):
            _check_tensor(model, tensor, f"tensor {index} of {where}")
    data = [model.constant(tensor) for graph in tree.subgraphs for tensor in graph.tensors]
    if sum(len(values) for values in data if values is not None) > _MAX_SHARING * len(model.content):
        raise Damaged("its tensors share the same data over and over")
    for entry in tree.metadata:
        _check_range((entry.buffer,), 0, len(tree.buffers), "metadata")
    for signature in tree.signatureDefs:
        _check_range((signature.subgraphIndex,), 0, len(tree.subgraphs), "a signature")


def _check_range(indices: tuple[int, ...], low: int, high: int, what: str) -> None:
    for index in indices:
        if not low <= index < high:
            raise Damaged(f"{what} refers to {index}, which does not exist")


def _check_tensor(model: TfliteModel, tensor: Any, where: str) -> None:
    _check_range((tensor.buffer,), 0, len(model.tree.buffers), where)
    for shape in (tensor.shape, tensor.shapeSignature):
        if shape is not None and len(shape) > _MAX_RANK:
            raise Damaged(f"{where} has {len(shape)} dimensions")
        if shape is not None and any(size < -1 for size in shape):
            raise Damaged(f"{where} has the shape {tuple(int(size) for size in shape)}")
    if elements(tensor) > _MAX_ELEMENTS:
        raise Damaged(f"{where} has {elements(tensor)} elements")
    buffer = model.tree.buffers[tensor.buffer]
    if buffer.offset > 1 and buffer.offset + buffer.size > len(model.content):
        raise Damaged(f"the data of {where} lies outside the file")
    data = model.constant(tensor)
    # The runtime itself demands this equality for dense tensors of a fixed element size.
    if data is not None and tensor.sparsity is None and 0 < dense_bytes(tensor) != len(data):
        raise Damaged(
            f"{where} ({dtype_name(tensor)}) has {len(data)} bytes of data; its shape needs {dense_bytes(tensor)}"
        )
