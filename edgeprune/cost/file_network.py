"""A TFLite file's main graph as a Network, so that files and traced models are costed by the same formulas."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from edgeprune.records.network import Extent, Network, OpRecord, TensorRecord, WeightRecord
from edgeprune.tflite.model import UNPACKING_OPS, TfliteModel, dtype_name, elements, shape_of
from edgeprune.tflite.weights import zeros_in

# TFLite's name -> the kind of network records; others keep their name, which says what an element of them costs.
_KINDS = {"CONV_2D": "conv", "DEPTHWISE_CONV_2D": "depthwise", "FULLY_CONNECTED": "dense"}
# They hand their input on, or copy a few values.
_FREE = ("RESHAPE", "EXPAND_DIMS", "SQUEEZE")
_QUANTIZED = ("int8", "uint8", "int16", "int4")
# A value and its place are stored for each nonzero weight of a sparse kernel.
_SPARSE_VALUES = 2


def file_network(model: TfliteModel, sparse: frozenset[int] = frozenset()) -> Network:
    """One record per operation of the main graph, in its order; nothing can be pruned. Unknown sizes count as 1.

    sparse: positions of 1x1 convolutions that run sparse kernels.
    """
    return _Builder(model, sparse).build()


def mode_of(model: TfliteModel, position: int) -> str:
    """The quantization mode whose kernels run an operation: "int8", "dynamic" or "none" (float16 weights expand)."""
    operator = model.main.operators[position]
    tensors = [int(tensor) for tensor in (*operator.inputs, *operator.outputs) if tensor >= 0]
    computed = [tensor for tensor in tensors if model.stored_weight(tensor) is None]
    if any(dtype_name(model.main.tensors[tensor]) in _QUANTIZED for tensor in computed):
        return "int8"
    weights = (model.stored_weight(tensor) for tensor in tensors)
    stored_small = any(weight is not None and dtype_name(weight) in _QUANTIZED for weight in weights)
    return "dynamic" if stored_small and model.op_names[position] in _KINDS else "none"


class _Builder:
    """Numbers axes, tensors and weights as they come up."""

    def __init__(self, model: TfliteModel, sparse: frozenset[int]) -> None:
        self.model, self.sparse = model, sparse
        self.axes: dict[int, int] = {1: 0}
        self.tensors: dict[int, int] = {}
        self.extents: list[Extent] = []
        self.weights: list[WeightRecord] = []

    def build(self) -> Network:
        """All records."""
        ops = tuple(self.record(position) for position in range(len(self.model.main.operators)))
        first = np.full(len(self.extents), len(ops), dtype=np.int64)
        last = np.full(len(self.extents), -1, dtype=np.int64)
        for number, op in enumerate(ops):
            for tensor in (*op.inputs, *op.outputs):
                first[tensor], last[tensor] = min(first[tensor], number), number
        tensors = tuple(
            TensorRecord(extent, int(start), int(end))
            for extent, start, end in zip(self.extents, first, last, strict=True)
        )
        fixed = np.array(list(self.axes), dtype=np.int64)
        return Network((), fixed, np.zeros((len(fixed), 0), dtype=np.int64), ops, tensors, tuple(self.weights))

    def record(self, position: int) -> OpRecord:
        """One operation."""
        model, name = self.model, self.model.op_names[position]
        operator = model.main.operators[position]
        known = [int(tensor) for tensor in operator.inputs if tensor >= 0]
        inputs = tuple(self.tensor(tensor) for tensor in known if model.stored_weight(tensor) is None)
        outputs = tuple(self.tensor(int(tensor)) for tensor in operator.outputs if tensor >= 0)
        label = f"{position}"
        if name in _FREE or (name in UNPACKING_OPS and not inputs) or self.is_fused_padding(position):
            return OpRecord(label, "fused", Extent(0), (), (), (), 0)
        if name in ("BATCH_MATMUL", "TRANSPOSE_CONV") and inputs and outputs:
            macs = self.other_macs(name, operator)
            if macs is not None:
                return OpRecord(label, "conv", Extent(macs), inputs, outputs, (), 0)
        if name in _KINDS and len(known) > 1 and outputs:
            record = self.weighted(position, label, inputs, outputs)
            if record is not None:
                return record
        return OpRecord(label, name, Extent(0), inputs, outputs, (), 0)

    def weighted(self, position: int, label: str, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> OpRecord | None:
        """A convolution or dense layer; None where the file describes it wrongly."""
        model, operator = self.model, self.model.main.operators[position]
        kind = _KINDS[model.op_names[position]]
        shape = _sizes(model.main.tensors[int(operator.inputs[1])])
        made = model.main.tensors[int(operator.outputs[0])]
        if len(shape) != (2 if kind == "dense" else 4) or not all(shape):
            return None
        channels = shape[3] if kind == "depthwise" else shape[0]
        axis, positions = self.axis(channels), elements(made) // channels
        taps = prod(shape[1:3]) if kind != "dense" else 1
        # a channel axis of its own, so that the network sees what the operation makes per channel
        self.extents[outputs[0]] = Extent(positions, (axis,))
        if kind == "depthwise":
            over: tuple[int, ...] = (axis,)
        else:
            over = (self.axis(shape[-1]), axis)
        kernel, macs = Extent(taps, over), Extent(positions * taps, over)
        if position in self.sparse:
            kept = self.nonzeros(int(operator.inputs[1]))
            kind, kernel, macs = "sparse", Extent(_SPARSE_VALUES * kept), Extent(positions * kept)
        self.weights.append(WeightRecord(label, "kernel", kernel))
        return OpRecord(label, kind, macs, inputs, outputs, (len(self.weights) - 1,), axis)

    def nonzeros(self, tensor: int) -> int:
        """Elements of a weight that are not zero."""
        stored = self.model.stored_weight(tensor)
        data = None if stored is None else self.model.constant(stored)
        if stored is None or data is None:
            return elements(self.model.main.tensors[tensor])
        return elements(stored) - zeros_in(stored, data)

    def other_macs(self, name: str, operator: Any) -> int | None:
        """Multiply-accumulates of a product of activations, or of a transposed convolution.

        None where the file describes it wrongly.
        """
        tensors = self.model.main.tensors
        read = [int(tensor) for tensor in operator.inputs]
        if min(read) < 0 or len(read) < (2 if name == "BATCH_MATMUL" else 3):
            return None
        if name == "BATCH_MATMUL":
            return elements(tensors[int(operator.outputs[0])]) * prod(_sizes(tensors[read[0]])[-1:])
        return elements(tensors[read[2]]) * prod(_sizes(tensors[read[1]])[:3])

    def is_fused_padding(self, position: int) -> bool:
        """Whether XNNPACK lets the convolution that alone reads a padding do it."""
        if self.model.op_names[position] != "PAD" or not len(self.model.main.operators[position].outputs):
            return False
        readers = self.model.consumers.get(int(self.model.main.operators[position].outputs[0]), [])
        return len(readers) == 1 and self.model.op_names[readers[0]] in ("CONV_2D", "DEPTHWISE_CONV_2D")

    def axis(self, width: int) -> int:
        """The axis of a width; axis 0 is 1 long."""
        return self.axes.setdefault(width, len(self.axes))

    def tensor(self, index: int) -> int:
        """The record of a computed tensor."""
        if index not in self.tensors:
            self.tensors[index] = len(self.extents)
            self.extents.append(Extent(elements(self.model.main.tensors[index])))
        return self.tensors[index]


def _sizes(tensor: Any) -> tuple[int, ...]:
    return tuple(abs(size) for size in shape_of(tensor))
