"""Builds small .tflite files from the schema, so that tests need no TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass, field

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

DTYPES = {
    "float32": schema.TensorType.FLOAT32,
    "float16": schema.TensorType.FLOAT16,
    "int8": schema.TensorType.INT8,
    "int32": schema.TensorType.INT32,
    "string": schema.TensorType.STRING,
    "bool": schema.TensorType.BOOL,
}


@dataclass
class ModelFile:
    """One model under construction: add tensors and operations, then `pack`."""

    tensors: list = field(default_factory=list)
    buffers: list = field(default_factory=lambda: [schema.BufferT()])
    operators: list = field(default_factory=list)
    codes: list = field(default_factory=list)
    metadata: list = field(default_factory=list)
    signatures: list = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)

    def tensor(
        self,
        shape: tuple[int, ...],
        dtype: str = "float32",
        data: np.ndarray | None = None,
        *,
        name: str | None = None,
        signature: tuple[int, ...] | None = None,
        scale: float | None = None,
        zero_point: int = 0,
        sparsity: schema.SparsityParametersT | None = None,
        variable: bool = False,
    ) -> int:
        """Add a tensor, constant when `data` is given; returns its index."""
        quantization = None
        if scale is not None:
            quantization = schema.QuantizationParametersT()
            quantization.scale = np.array([scale], np.float32)
            quantization.zeroPoint = np.array([zero_point], np.int64)
        buffer = 0
        if data is not None:
            self.buffers.append(schema.BufferT(data=np.frombuffer(data.tobytes(), np.uint8)))
            buffer = len(self.buffers) - 1
        self.tensors.append(
            schema.TensorT(
                shape=np.array(shape, np.int32),
                type=DTYPES[dtype],
                buffer=buffer,
                name=name or f"tensor{len(self.tensors)}",
                quantization=quantization,
                sparsity=sparsity,
                shapeSignature=None if signature is None else np.array(signature, np.int32),
                isVariable=variable,
            )
        )
        return len(self.tensors) - 1

    def op(
        self,
        name: str,
        inputs: list[int],
        outputs: list[int],
        *,
        version: int = 1,
        custom: str | None = None,
        options: tuple[str, object] | None = None,
    ) -> None:
        """Add an operation. options: name in BuiltinOptions, and the options object."""
        number = getattr(schema.BuiltinOperator, name)
        self.codes.append(
            schema.OperatorCodeT(
                deprecatedBuiltinCode=min(number, 127), builtinCode=number, version=version, customCode=custom
            )
        )
        operator = schema.OperatorT(
            opcodeIndex=len(self.codes) - 1, inputs=np.array(inputs, np.int32), outputs=np.array(outputs, np.int32)
        )
        if options is not None:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, options[0])
            operator.builtinOptions = options[1]
        self.operators.append(operator)

    def note(self, name: str, content: bytes) -> None:
        """Add a metadata entry."""
        self.buffers.append(schema.BufferT(data=np.frombuffer(content, np.uint8)))
        self.metadata.append(schema.MetadataT(name=name, buffer=len(self.buffers) - 1))

    def pack(self, more_subgraphs: tuple = ()) -> bytes:
        """The bytes of the file."""
        main = schema.SubGraphT(
            tensors=self.tensors,
            inputs=np.array(self.inputs, np.int32),
            outputs=np.array(self.outputs, np.int32),
            operators=self.operators,
            name="main",
        )
        model = schema.ModelT(
            version=3,
            operatorCodes=self.codes,
            subgraphs=[main, *more_subgraphs],
            buffers=self.buffers,
            metadata=self.metadata,
            signatureDefs=self.signatures,
        )
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def dense_network(
    activation: str = "float32",
    weight: str = "float32",
    *,
    op: str = "FULLY_CONNECTED",
    version: int = 1,
    sparsity: schema.SparsityParametersT | None = None,
    unpack: str | None = None,
    data: np.ndarray | None = None,
) -> ModelFile:
    """input (1, 8) -> one weighted operation -> output (1, 4); the convolution uses (1, 1, 1, 8) and so on.

    `unpack` puts DENSIFY or DEQUANTIZE between the stored weight and its reader.
    """
    lead = () if op == "FULLY_CONNECTED" else (1, 1)
    file = ModelFile()
    scale = 0.5 if activation == "int8" else None
    source = file.tensor((1, *lead, 8), activation, name="x", scale=scale)
    stored = np.ones((4, *lead, 8), weight) if data is None else data
    kernel = file.tensor(
        (4, *lead, 8), weight, stored, name="kernel", scale=0.1 if weight == "int8" else None, sparsity=sparsity
    )
    if unpack is not None:
        unpacked = file.tensor((4, *lead, 8), weight if unpack == "DENSIFY" else "float32", name="unpacked")
        file.op(unpack, [kernel], [unpacked])
        kernel = unpacked
    bias = file.tensor((4,), "int32" if activation == "int8" else "float32", np.zeros(4, np.float32), name="bias")
    result = file.tensor((1, *lead, 4), activation, name="y", scale=scale)
    options = {
        "FULLY_CONNECTED": ("FullyConnectedOptions", schema.FullyConnectedOptionsT()),
        "CONV_2D": ("Conv2DOptions", schema.Conv2DOptionsT(strideW=1, strideH=1)),
    }[op]
    file.op(op, [source, kernel, bias], [result], version=version, options=options)
    file.inputs, file.outputs = [source], [result]
    return file


def sparse_encoding(rows: int, nonzero_columns: list[int], block: int | None = None) -> schema.SparsityParametersT:
    """CSR of a (rows, columns) matrix with the same nonzero columns (or 1 x block blocks) in each row."""
    per_row = len(nonzero_columns)
    dense_rows = schema.DimensionMetadataT(format=schema.DimensionType.DENSE, denseSize=rows)
    columns = schema.DimensionMetadataT(
        format=schema.DimensionType.SPARSE_CSR,
        arraySegmentsType=schema.SparseIndexVector.Uint8Vector,
        arraySegments=schema.Uint8VectorT(values=np.arange(0, rows * per_row + 1, per_row, dtype=np.uint8)),
        arrayIndicesType=schema.SparseIndexVector.Uint8Vector,
        arrayIndices=schema.Uint8VectorT(values=np.array(nonzero_columns * rows, np.uint8)),
    )
    parameters = schema.SparsityParametersT(
        traversalOrder=np.array([0, 1], np.int32), dimMetadata=[dense_rows, columns]
    )
    if block is not None:
        parameters.traversalOrder = np.array([0, 1, 2], np.int32)
        parameters.blockMap = np.array([1], np.int32)
        parameters.dimMetadata.append(schema.DimensionMetadataT(format=schema.DimensionType.DENSE, denseSize=block))
    return parameters


def pool(file: ModelFile, source: int, result: int) -> None:
    """Add a 1x1 max pooling, which copies its input and needs no scratch memory."""
    options = schema.Pool2DOptionsT(strideW=1, strideH=1, filterWidth=1, filterHeight=1)
    file.op("MAX_POOL_2D", [source], [result], options=("Pool2DOptions", options))
