"""TFLite files with one operation each and random weights: what a board runs to tell what a layer costs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

Precision = Literal["none", "float16", "dynamic", "int8"]

WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
# Operations with one input of the shape of their output
UNARY = ("LOGISTIC", "HARD_SWISH", "RELU6", "TANH")
BINARY = ("ADD", "MUL")
POOLING = ("AVERAGE_POOL_2D", "MAX_POOL_2D", "MEAN")
OPERATIONS = (*WEIGHTED, *UNARY, *BINARY, *POOLING)

_CODE = {
    "CONV_2D": (schema.BuiltinOperator.CONV_2D, 3),
    "DEPTHWISE_CONV_2D": (schema.BuiltinOperator.DEPTHWISE_CONV_2D, 3),
    "FULLY_CONNECTED": (schema.BuiltinOperator.FULLY_CONNECTED, 4),
    "LOGISTIC": (schema.BuiltinOperator.LOGISTIC, 2),
    "HARD_SWISH": (schema.BuiltinOperator.HARD_SWISH, 1),
    "RELU6": (schema.BuiltinOperator.RELU6, 2),
    "TANH": (schema.BuiltinOperator.TANH, 2),
    "ADD": (schema.BuiltinOperator.ADD, 2),
    "MUL": (schema.BuiltinOperator.MUL, 2),
    "AVERAGE_POOL_2D": (schema.BuiltinOperator.AVERAGE_POOL_2D, 2),
    "MAX_POOL_2D": (schema.BuiltinOperator.MAX_POOL_2D, 2),
    "MEAN": (schema.BuiltinOperator.MEAN, 2),
    "DEQUANTIZE": (schema.BuiltinOperator.DEQUANTIZE, 3),
}
# A scale at which products of random values neither vanish nor saturate; LOGISTIC's output has a scale of its own.
_SCALE = 0.05
_FIXED_SCALE = {"LOGISTIC": (1 / 256, -128), "TANH": (1 / 128, 0)}


@dataclass(frozen=True)
class LayerShape:
    """One operation of batch 1.

    op: its TFLite name. height, width: of the input; 1 and 1 for FULLY_CONNECTED. inputs, outputs: channels; equal
    where the operation does not mix them. kernel, stride: (rows, columns) of convolutions and pools. same: padding.
    """

    op: str
    height: int
    width: int
    inputs: int
    outputs: int
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    same: bool = True

    @property
    def output_size(self) -> tuple[int, int]:
        """(rows, columns) of the output."""
        if self.op == "MEAN":
            return 1, 1
        sizes = zip((self.height, self.width), self.kernel, self.stride, strict=True)
        rows, columns = (-(-size // step) if self.same else (size - k) // step + 1 for size, k, step in sizes)
        return rows, columns

    @property
    def macs(self) -> int:
        """Multiply-accumulates; 0 for an operation without weights."""
        rows, columns = self.output_size
        taps = self.kernel[0] * self.kernel[1]
        return {
            "CONV_2D": rows * columns * taps * self.inputs * self.outputs,
            "DEPTHWISE_CONV_2D": rows * columns * taps * self.outputs,
            "FULLY_CONNECTED": self.inputs * self.outputs,
        }.get(self.op, 0)

    def with_channels(self, inputs: int, outputs: int) -> LayerShape:
        """The same operation on other channel counts."""
        return replace(self, inputs=inputs, outputs=outputs if self.op in ("CONV_2D", "FULLY_CONNECTED") else inputs)


def one_op_model(layer: LayerShape, precision: Precision, seed: int = 0) -> bytes:
    """A TFLite file whose main graph is this one operation (and DEQUANTIZE of its weights for float16)."""
    return _Builder(layer, precision, np.random.default_rng(seed)).build()


class _Builder:
    """Puts tensors, buffers and operations together."""

    def __init__(self, layer: LayerShape, precision: Precision, rng: np.random.Generator) -> None:
        self.layer, self.precision, self.rng = layer, precision, rng
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []
        self.buffers = [schema.BufferT()]
        self.codes: list[Any] = []

    def build(self) -> bytes:
        layer, rank = self.layer, 2 if self.layer.op == "FULLY_CONNECTED" else 4
        size = (1, layer.height, layer.width, layer.inputs) if rank == 4 else (1, layer.inputs)
        out = (1, *layer.output_size, layer.outputs) if rank == 4 else (1, layer.outputs)
        inputs = [self.activation("input", size)]
        if layer.op in BINARY:
            inputs.append(self.activation("other", size))
        read = list(inputs)
        if layer.op in WEIGHTED:
            read += [self.kernel(), self.bias()]
        elif layer.op == "MEAN":
            read.append(self.tensor("axes", (2,), schema.TensorType.INT32, np.array([1, 2], "<i4")))
        scale, zero = _FIXED_SCALE.get(layer.op, (_SCALE, 0))
        output = self.activation("output", out, scale, zero)
        self.operator(layer.op, read, output, *_options(layer))
        self.graph.inputs, self.graph.outputs = inputs, [output]
        model = schema.ModelT()
        model.version, model.description = 3, "one operation"
        model.operatorCodes, model.subgraphs, model.buffers = self.codes, [self.graph], self.buffers
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def kernel(self) -> int:
        layer = self.layer
        shape: tuple[int, ...] = (layer.outputs, *layer.kernel, layer.inputs)
        if layer.op == "DEPTHWISE_CONV_2D":
            shape = (1, *layer.kernel, layer.outputs)
        elif layer.op == "FULLY_CONNECTED":
            shape = (layer.outputs, layer.inputs)
        if self.precision in ("dynamic", "int8"):
            values = self.rng.integers(-127, 128, shape).astype(np.int8)
            axis = 3 if layer.op == "DEPTHWISE_CONV_2D" else 0
            return self.tensor("kernel", shape, schema.TensorType.INT8, values, [_SCALE] * layer.outputs, axis)
        values = (self.rng.standard_normal(shape) * 0.1).astype("<f4")
        if self.precision == "none":
            return self.tensor("kernel", shape, schema.TensorType.FLOAT32, values)
        half = self.tensor("half", shape, schema.TensorType.FLOAT16, values.astype("<f2"))
        kernel = self.tensor("kernel", shape, schema.TensorType.FLOAT32)
        self.operator("DEQUANTIZE", [half], kernel)
        return kernel

    def bias(self) -> int:
        count = self.layer.outputs
        if self.precision == "int8":
            scales = [_SCALE * _SCALE] * count
            return self.tensor("bias", (count,), schema.TensorType.INT32, np.zeros(count, "<i4"), scales)
        return self.tensor("bias", (count,), schema.TensorType.FLOAT32, np.zeros(count, "<f4"))

    def activation(self, name: str, shape: tuple[int, ...], scale: float = _SCALE, zero: int = 0) -> int:
        if self.precision == "int8":
            return self.tensor(name, shape, schema.TensorType.INT8, None, [scale], zero=zero)
        return self.tensor(name, shape, schema.TensorType.FLOAT32)

    def tensor(
        self,
        name: str,
        shape: tuple[int, ...],
        kind: int,
        values: np.ndarray | None = None,
        scales: list[float] | None = None,
        axis: int = 0,
        zero: int = 0,
    ) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type, tensor.buffer = name, list(shape), kind, 0
        if scales is not None:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = scales
            tensor.quantization.zeroPoint = [zero] * len(scales)
            tensor.quantization.quantizedDimension = axis
        if values is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(values.tobytes(), np.uint8)
            tensor.buffer = len(self.buffers)
            self.buffers.append(buffer)
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def operator(self, name: str, inputs: list[int], output: int, kind: int = 0, options: Any = None) -> None:
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = _CODE[name][0]
        code.version = _CODE[name][1]
        operator = schema.OperatorT()
        operator.opcodeIndex, operator.inputs, operator.outputs = len(self.codes), inputs, [output]
        operator.builtinOptionsType, operator.builtinOptions = kind, options
        self.codes.append(code)
        self.graph.operators.append(operator)


def _options(layer: LayerShape) -> tuple[int, Any]:
    """(the type of an operation's options, the options)."""
    padding = schema.Padding.SAME if layer.same else schema.Padding.VALID
    if layer.op in ("CONV_2D", "DEPTHWISE_CONV_2D"):
        deep = layer.op == "DEPTHWISE_CONV_2D"
        options = schema.DepthwiseConv2DOptionsT() if deep else schema.Conv2DOptionsT()
        options.padding, (options.strideH, options.strideW) = padding, layer.stride
        options.dilationHFactor = options.dilationWFactor = 1
        if deep:
            options.depthMultiplier = 1
        kinds = schema.BuiltinOptions
        return (kinds.DepthwiseConv2DOptions if deep else kinds.Conv2DOptions), options
    if layer.op in ("AVERAGE_POOL_2D", "MAX_POOL_2D"):
        pool = schema.Pool2DOptionsT()
        pool.padding, (pool.strideH, pool.strideW) = padding, layer.stride
        pool.filterHeight, pool.filterWidth = layer.kernel
        return schema.BuiltinOptions.Pool2DOptions, pool
    if layer.op == "MEAN":
        mean = schema.ReducerOptionsT()
        mean.keepDims = True
        return schema.BuiltinOptions.ReducerOptions, mean
    plain = {
        "FULLY_CONNECTED": (schema.BuiltinOptions.FullyConnectedOptions, schema.FullyConnectedOptionsT),
        "ADD": (schema.BuiltinOptions.AddOptions, schema.AddOptionsT),
        "MUL": (schema.BuiltinOptions.MulOptions, schema.MulOptionsT),
        "HARD_SWISH": (schema.BuiltinOptions.HardSwishOptions, schema.HardSwishOptionsT),
    }
    if layer.op not in plain:
        return schema.BuiltinOptions.NONE, None
    kind, options_type = plain[layer.op]
    return kind, options_type()
