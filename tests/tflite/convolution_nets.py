"""Builds small convolutional networks as .tflite files, weight by weight, with dense or sparse encodings.

A network is written once and packed with either encoding of the same weights: the board then runs the same numbers, and
a difference in instructions can only come from sparse kernels.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tests.tflite.model_files import ModelFile

Storage = Literal["float32", "float16", "int8"]

_ACTIVATION = {
    "none": schema.ActivationFunctionType.NONE,
    "relu": schema.ActivationFunctionType.RELU,
    "relu6": schema.ActivationFunctionType.RELU6,
    "tanh": schema.ActivationFunctionType.TANH,
}
_PADDING = {"same": schema.Padding.SAME, "valid": schema.Padding.VALID}


def csr_encoding(dense: np.ndarray) -> tuple[np.ndarray, schema.SparsityParametersT]:
    """The nonzero values and indices of a weight whose last axis is compressed, as the converter writes them."""
    rows = dense.reshape(-1, dense.shape[-1])
    kept = rows != 0
    segments = np.concatenate([[0], np.cumsum(kept.sum(axis=1))]).astype(np.int32)
    columns = np.nonzero(kept)[1].astype(np.int32)
    levels = [schema.DimensionMetadataT(format=schema.DimensionType.DENSE, denseSize=size) for size in dense.shape[:-1]]
    levels.append(
        schema.DimensionMetadataT(
            format=schema.DimensionType.SPARSE_CSR,
            arraySegmentsType=schema.SparseIndexVector.Int32Vector,
            arraySegments=schema.Int32VectorT(values=segments),
            arrayIndicesType=schema.SparseIndexVector.Int32Vector,
            arrayIndices=schema.Int32VectorT(values=columns),
        )
    )
    parameters = schema.SparsityParametersT(traversalOrder=np.arange(dense.ndim, dtype=np.int32), dimMetadata=levels)
    return rows[kept], parameters


class Net:
    """One network under construction; every method adds an operation and returns its output's tensor index.

    sparse: store weights that hold zeros sparsely behind DENSIFY. zeros: share of zeros in 1x1 convolutions and dense
    layers unless a method is told otherwise. storage: type of stored weights; float16 and int8 are dequantized.
    """

    def __init__(
        self, size: int = 16, *, sparse: bool = True, zeros: float = 0.9, storage: Storage = "float32", batch: int = 1
    ) -> None:
        self.file = ModelFile()
        self.sparse, self.zeros, self.storage = sparse, zeros, storage
        self.random = np.random.default_rng(7)
        self.input = self.file.tensor((batch, size, size, 3), name="image")
        self.file.inputs = [self.input]

    def shape(self, tensor: int) -> tuple[int, ...]:
        """The shape of a tensor."""
        return tuple(int(size) for size in self.file.tensors[tensor].shape)

    def pack(self, *outputs: int) -> bytes:
        """The file, with these outputs."""
        self.file.outputs = list(outputs)
        return self.file.pack()

    def constant(self, values: np.ndarray | float, shape: tuple[int, ...] | None = None) -> int:
        """A float32 constant."""
        array = np.asarray(values, np.float32)
        array = np.broadcast_to(array, array.shape if shape is None else shape)
        return self.file.tensor(array.shape, "float32", array.copy(), name=f"constant{len(self.file.tensors)}")

    def weight(self, shape: tuple[int, ...], zeros: float) -> int:
        """A weight with the given share of zeros, seen through the operations that unpack it."""
        values = self.random.normal(size=shape).astype(np.float32)
        if zeros:
            order = self.random.permutation(values.size)
            values.reshape(-1)[order[: round(zeros * values.size)]] = 0.0
        # Keeps the spread of values from layer to layer: a saturated softmax would hide wrong numbers.
        values /= np.sqrt(max(1.0, np.count_nonzero(values) / shape[0 if len(shape) == 2 or shape[0] > 1 else 3]) / 2)
        scale = None
        if self.storage == "float16":
            stored = values.astype(np.float16)
        elif self.storage == "int8":
            scale = float(np.abs(values).max() / 127)
            stored = np.clip(np.round(values / scale), -127, 127).astype(np.int8)
        else:
            stored = values
        if self.sparse and zeros >= 0.3:
            nonzero, parameters = csr_encoding(stored)
            packed = self.file.tensor(shape, self.storage, nonzero, scale=scale, sparsity=parameters, name="packed")
            index = self.file.tensor(shape, self.storage, scale=scale, name="unpacked")
            self.file.op("DENSIFY", [packed], [index], options=("DensifyOptions", schema.DensifyOptionsT()))
        else:
            index = self.file.tensor(shape, self.storage, stored, scale=scale, name="weight")
        if self.storage != "float32":
            restored = self.file.tensor(shape, "float32", name="restored")
            version = 3 if self.storage == "float16" else 2
            self.file.op("DEQUANTIZE", [index], [restored], version=version)
            index = restored
        return index

    def conv(
        self,
        x: int,
        filters: int,
        kernel: int = 1,
        *,
        stride: int = 1,
        padding: str = "valid",
        act: str = "relu",
        zeros: float | None = None,
        groups: int = 1,
        dilation: int = 1,
    ) -> int:
        """CONV_2D; only 1x1 kernels hold zeros unless told otherwise."""
        channels = self.shape(x)[3] // groups
        zeros = (self.zeros if kernel == 1 else 0.0) if zeros is None else zeros
        weight = self.weight((filters, kernel, kernel, channels), zeros)
        options = schema.Conv2DOptionsT(
            padding=_PADDING[padding],
            strideH=stride,
            strideW=stride,
            dilationHFactor=dilation,
            dilationWFactor=dilation,
            fusedActivationFunction=_ACTIVATION[act],
        )
        out = self._spatial(x, filters, kernel, stride, padding, dilation)
        self.file.op("CONV_2D", [x, weight, self.constant(0.1, (filters,))], [out], options=("Conv2DOptions", options))
        return out

    def depthwise(
        self,
        x: int,
        kernel: int = 3,
        *,
        stride: int = 1,
        padding: str = "same",
        act: str = "relu",
        multiplier: int = 1,
        dilation: int = 1,
    ) -> int:
        """DEPTHWISE_CONV_2D with a dense weight."""
        filters = self.shape(x)[3] * multiplier
        weight = self.weight((1, kernel, kernel, filters), 0.0)
        options = schema.DepthwiseConv2DOptionsT(
            padding=_PADDING[padding],
            strideH=stride,
            strideW=stride,
            depthMultiplier=multiplier,
            dilationHFactor=dilation,
            dilationWFactor=dilation,
            fusedActivationFunction=_ACTIVATION[act],
        )
        out = self._spatial(x, filters, kernel, stride, padding, dilation)
        bias = self.constant(0.1, (filters,))
        self.file.op("DEPTHWISE_CONV_2D", [x, weight, bias], [out], options=("DepthwiseConv2DOptions", options))
        return out

    def pad(self, x: int, before: int, after: int) -> int:
        """PAD of height and width with zeros."""
        batch, height, width, channels = self.shape(x)
        amounts = np.array([[0, 0], [before, after], [before, after], [0, 0]], np.int32)
        out = self.file.tensor((batch, height + before + after, width + before + after, channels))
        self.file.op("PAD", [x, self.file.tensor((4, 2), "int32", amounts)], [out])
        return out

    def binary(self, name: str, a: int, b: int, act: str = "none") -> int:
        """ADD, MUL, SUB, DIV, MAXIMUM, MINIMUM with broadcasting."""
        out = self.file.tensor(np.broadcast_shapes(self.shape(a), self.shape(b)))
        options = {
            "ADD": ("AddOptions", schema.AddOptionsT(fusedActivationFunction=_ACTIVATION[act])),
            "MUL": ("MulOptions", schema.MulOptionsT(fusedActivationFunction=_ACTIVATION[act])),
            "SUB": ("SubOptions", schema.SubOptionsT(fusedActivationFunction=_ACTIVATION[act])),
            "DIV": ("DivOptions", schema.DivOptionsT(fusedActivationFunction=_ACTIVATION[act])),
        }.get(name, ("MaximumMinimumOptions", schema.MaximumMinimumOptionsT()))
        self.file.op(name, [a, b], [out], options=options)
        return out

    def unary(self, name: str, x: int) -> int:
        """LOGISTIC, HARD_SWISH, TANH, RELU and the like."""
        out = self.file.tensor(self.shape(x))
        options = {
            "LEAKY_RELU": ("LeakyReluOptions", schema.LeakyReluOptionsT(alpha=0.1)),
            "GELU": ("GeluOptions", schema.GeluOptionsT(approximate=False)),
        }.get(name)
        self.file.op(name, [x], [out], options=options)
        return out

    def reduce(self, x: int, *, name: str = "MEAN", axes: tuple[int, ...] = (1, 2), keep: bool = False) -> int:
        """MEAN or SUM over axes."""
        shape = tuple(
            1 if axis in axes else size for axis, size in enumerate(self.shape(x)) if keep or axis not in axes
        )
        out = self.file.tensor(shape)
        inputs = [x, self.file.tensor((len(axes),), "int32", np.array(axes, np.int32))]
        self.file.op(name, inputs, [out], options=("ReducerOptions", schema.ReducerOptionsT(keepDims=keep)))
        return out

    def pool(self, x: int, size: int, *, name: str = "AVERAGE_POOL_2D", stride: int | None = None) -> int:
        """AVERAGE_POOL_2D or MAX_POOL_2D, VALID."""
        stride = stride or size
        batch, height, width, channels = self.shape(x)
        out = self.file.tensor((batch, (height - size) // stride + 1, (width - size) // stride + 1, channels))
        options = schema.Pool2DOptionsT(
            padding=schema.Padding.VALID, strideH=stride, strideW=stride, filterHeight=size, filterWidth=size
        )
        self.file.op(name, [x], [out], options=("Pool2DOptions", options))
        return out

    def dense(
        self, x: int, units: int, *, zeros: float = 0.0, act: str = "none", version: int = 1, keep: bool = False
    ) -> int:
        """FULLY_CONNECTED on the last axis; keep: with the other axes as they are."""
        batch, *others, features = self.shape(x)
        weight = self.weight((units, features), zeros)
        out = self.file.tensor((batch, *others, units) if keep else (batch, units))
        options = schema.FullyConnectedOptionsT(fusedActivationFunction=_ACTIVATION[act], keepNumDims=keep)
        inputs = [x, weight, self.constant(0.1, (units,))]
        self.file.op("FULLY_CONNECTED", inputs, [out], version=version, options=("FullyConnectedOptions", options))
        return out

    def softmax(self, x: int) -> int:
        """SOFTMAX."""
        out = self.file.tensor(self.shape(x))
        self.file.op("SOFTMAX", [x], [out], options=("SoftmaxOptions", schema.SoftmaxOptionsT(beta=1.0)))
        return out

    def reshape(self, x: int, shape: tuple[int, ...]) -> int:
        """RESHAPE."""
        out = self.file.tensor(shape)
        target = self.file.tensor((len(shape),), "int32", np.array(shape, np.int32))
        self.file.op("RESHAPE", [x, target], [out], options=("ReshapeOptions", schema.ReshapeOptionsT(newShape=shape)))
        return out

    def resize(self, x: int, size: int) -> int:
        """RESIZE_BILINEAR."""
        batch, _, _, channels = self.shape(x)
        out = self.file.tensor((batch, size, size, channels))
        options = schema.ResizeBilinearOptionsT(halfPixelCenters=True)
        target = self.file.tensor((2,), "int32", np.array([size, size], np.int32))
        self.file.op("RESIZE_BILINEAR", [x, target], [out], version=3, options=("ResizeBilinearOptions", options))
        return out

    def depth_to_space(self, x: int, block: int = 2) -> int:
        """DEPTH_TO_SPACE."""
        batch, height, width, channels = self.shape(x)
        out = self.file.tensor((batch, height * block, width * block, channels // block**2))
        options = schema.DepthToSpaceOptionsT(blockSize=block)
        self.file.op("DEPTH_TO_SPACE", [x], [out], options=("DepthToSpaceOptions", options))
        return out

    def space_to_depth(self, x: int, block: int = 2) -> int:
        """SPACE_TO_DEPTH."""
        batch, height, width, channels = self.shape(x)
        out = self.file.tensor((batch, height // block, width // block, channels * block**2))
        options = schema.SpaceToDepthOptionsT(blockSize=block)
        self.file.op("SPACE_TO_DEPTH", [x], [out], options=("SpaceToDepthOptions", options))
        return out

    def concat(self, a: int, b: int) -> int:
        """CONCATENATION of channels."""
        *lead, channels = self.shape(a)
        out = self.file.tensor((*lead, channels + self.shape(b)[-1]))
        options = schema.ConcatenationOptionsT(axis=3)
        self.file.op("CONCATENATION", [a, b], [out], options=("ConcatenationOptions", options))
        return out

    def other(self, name: str, x: int, *, custom: str | None = None) -> int:
        """Any operation that keeps the shape and has no options."""
        out = self.file.tensor(self.shape(x))
        self.file.op(name, [x], [out], custom=custom)
        return out

    # the parts that most networks share

    def stem(self, filters: int = 16, *, before: int = 1, after: int = 1, act: str = "relu") -> int:
        """PAD and a VALID 3x3 stride-2 convolution: how a symmetric stem is exported."""
        return self.conv(self.pad(self.input, before, after), filters, 3, stride=2, act=act)

    def block(self, x: int, filters: int = 64) -> int:
        """1x1, depthwise 3x3, 1x1, as in MobileNets."""
        return self.conv(self.depthwise(self.conv(x, filters)), filters)

    def head(self, x: int, units: int = 10, *, zeros: float = 0.0) -> int:
        """Global mean, dense layer, softmax."""
        return self.softmax(self.dense(self.reduce(x), units, zeros=zeros))

    def _spatial(self, x: int, filters: int, kernel: int, stride: int, padding: str, dilation: int) -> int:
        batch, height, width, _ = self.shape(x)
        reach = (kernel - 1) * dilation + 1
        sizes = [-(-size // stride) if padding == "same" else (size - reach) // stride + 1 for size in (height, width)]
        return self.file.tensor((batch, *sizes, filters))
