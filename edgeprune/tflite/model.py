"""A TFLite file that was read and checked: the schema's object tree, with the look-ups every reader needs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

# TensorType -> (name, bits per element); string, resource and variant tensors have no fixed size
_DTYPES: dict[int, tuple[str, int]] = {
    schema.TensorType.FLOAT32: ("float32", 32),
    schema.TensorType.FLOAT16: ("float16", 16),
    schema.TensorType.INT32: ("int32", 32),
    schema.TensorType.UINT8: ("uint8", 8),
    schema.TensorType.INT64: ("int64", 64),
    schema.TensorType.STRING: ("string", 0),
    schema.TensorType.BOOL: ("bool", 8),
    schema.TensorType.INT16: ("int16", 16),
    schema.TensorType.COMPLEX64: ("complex64", 64),
    schema.TensorType.INT8: ("int8", 8),
    schema.TensorType.FLOAT64: ("float64", 64),
    schema.TensorType.COMPLEX128: ("complex128", 128),
    schema.TensorType.UINT64: ("uint64", 64),
    schema.TensorType.RESOURCE: ("resource", 0),
    schema.TensorType.VARIANT: ("variant", 0),
    schema.TensorType.UINT32: ("uint32", 32),
    schema.TensorType.UINT16: ("uint16", 16),
    schema.TensorType.INT4: ("int4", 4),
    schema.TensorType.BFLOAT16: ("bfloat16", 16),
}

_OP_NAMES: dict[int, str] = {
    value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)
}

# Operations that turn a stored weight into the form the next operation reads, once, when the model loads.
UNPACKING_OPS = ("DENSIFY", "DEQUANTIZE")


def dtype_name(tensor: Any) -> str:
    """The element type of a TensorT, such as "float32"; "type 99" where the schema has no name for it."""
    return _DTYPES[tensor.type][0] if tensor.type in _DTYPES else f"type {tensor.type}"


def dense_bytes(tensor: Any) -> int:
    """Bytes of a TensorT once stored densely; unknown dimensions count as 1, strings and resources as 0."""
    bits = _DTYPES[tensor.type][1] if tensor.type in _DTYPES else 0
    return -(-elements(tensor) * bits // 8)


def shape_of(tensor: Any) -> tuple[int, ...]:
    """The shape of a TensorT with -1 for dimensions that are only known at run time."""
    signature = tensor.shapeSignature if tensor.shapeSignature is not None else tensor.shape
    return () if signature is None else tuple(int(size) for size in signature)


def elements(tensor: Any) -> int:
    """Number of elements of a TensorT; unknown dimensions count as 1."""
    sizes = () if tensor.shape is None else tensor.shape
    return prod(1 if size < 0 else int(size) for size in sizes)


def text(raw: bytes | str | None) -> str:
    """A name from the file as printable text; control characters could otherwise reach the terminal."""
    decoded = raw.decode("utf-8", errors="replace") if isinstance(raw, bytes) else raw or ""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in decoded)


@dataclass(frozen=True, eq=False)
class TfliteModel:
    """A checked TFLite file.

    name: the file's name, for messages. content: its bytes. tree: `schema_py_generated.ModelT`, in which all
    lists are present and all indices valid (`flatbuffer.read_model` guarantees it).
    """

    name: str
    content: bytes
    tree: Any

    @property
    def main(self) -> Any:
        """The SubGraphT that `invoke` runs."""
        return self.tree.subgraphs[0]

    @cached_property
    def op_names(self) -> tuple[str, ...]:
        """Names of the main subgraph's operations, in order."""
        return tuple(self.op_name(operator) for operator in self.main.operators)

    @cached_property
    def producers(self) -> dict[int, int]:
        """Tensor index -> index of the operation of the main subgraph that writes it."""
        return {
            int(tensor): position
            for position, operator in enumerate(self.main.operators)
            for tensor in operator.outputs
            if tensor >= 0
        }

    @cached_property
    def consumers(self) -> dict[int, list[int]]:
        """Tensor index -> indices of the operations of the main subgraph that read it."""
        readers: dict[int, list[int]] = {}
        for position, operator in enumerate(self.main.operators):
            for tensor in operator.inputs:
                readers.setdefault(int(tensor), []).append(position)
        return readers

    def op_code(self, operator: Any) -> Any:
        """The OperatorCodeT of an OperatorT."""
        return self.tree.operatorCodes[operator.opcodeIndex]

    def op_name(self, operator: Any) -> str:
        """The schema's name of an OperatorT, or the custom operation's own name."""
        code = self.op_code(operator)
        # Files from before 2020 keep the operator in the deprecated byte-sized field only.
        number = max(code.builtinCode, code.deprecatedBuiltinCode)
        if number == schema.BuiltinOperator.CUSTOM:
            return text(code.customCode) or "CUSTOM"
        return _OP_NAMES.get(number, f"BUILTIN_{number}")

    def is_custom(self, operator: Any) -> bool:
        """Whether the operation is not part of TFLite itself."""
        code = self.op_code(operator)
        return bool(max(code.builtinCode, code.deprecatedBuiltinCode) == schema.BuiltinOperator.CUSTOM)

    def constant(self, tensor: Any) -> np.ndarray | None:
        """The stored bytes of a TensorT, (n,) uint8, or None when it is computed at run time."""
        buffer = self.tree.buffers[tensor.buffer]
        if buffer.data is not None and len(buffer.data):
            return np.asarray(buffer.data)
        if buffer.offset > 1:  # files above 2 GB keep data behind the flatbuffer; 0 and 1 mean "not used"
            return np.frombuffer(self.content, np.uint8, count=buffer.size, offset=buffer.offset)
        return None

    def stored_weight(self, index: int) -> Any | None:
        """The constant TensorT behind a tensor index, seen through DENSIFY and DEQUANTIZE; None for activations."""
        # A chain can't be longer than the operations that make it; damaged files may hold a loop.
        for _ in range(len(self.main.operators) + 1):
            tensor = self.main.tensors[index]
            if self.constant(tensor) is not None:
                return tensor
            producer = self.producers.get(index)
            if producer is None or self.op_names[producer] not in UNPACKING_OPS:
                return None
            inputs = self.main.operators[producer].inputs
            if not len(inputs) or inputs[0] < 0:
                return None
            index = int(inputs[0])
        return None
