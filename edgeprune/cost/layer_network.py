"""A list of layers as a Network, to be costed like a model."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from edgeprune.cost.one_op import BINARY, LayerShape
from edgeprune.records.network import Extent, Network, OpRecord, TensorRecord, WeightRecord

_KINDS = {"CONV_2D": "conv", "DEPTHWISE_CONV_2D": "depthwise", "FULLY_CONNECTED": "dense"}


def layer_network(layers: Iterable[LayerShape]) -> Network:
    """One operation per layer; what it reads and writes is its own, nothing can be pruned."""
    axes: dict[int, int] = {1: 0}
    ops: list[OpRecord] = []
    tensors: list[TensorRecord] = []
    weights: list[WeightRecord] = []

    def axis(width: int) -> int:
        return axes.setdefault(width, len(axes))

    for number, layer in enumerate(layers):
        rows, columns = layer.output_size
        positions, taps, own = rows * columns, layer.kernel[0] * layer.kernel[1], len(tensors)
        made = axis(layer.outputs)
        reads = 2 if layer.op in BINARY else 1
        size = Extent(layer.height * layer.width * layer.inputs)
        tensors += [TensorRecord(size, number, number)] * reads
        tensors.append(TensorRecord(Extent(positions, (made,)), number, number))
        kind, macs = _KINDS.get(layer.op, layer.op), Extent(0)
        kernel: tuple[int, ...] = ()
        if layer.op in _KINDS:
            over: tuple[int, ...] = (made,) if kind == "depthwise" else (axis(layer.inputs), made)
            macs, kernel = Extent(positions * taps, over), (len(weights),)
            weights.append(WeightRecord(layer.op, "kernel", Extent(taps, over)))
        inputs = tuple(range(own, own + reads))
        ops.append(OpRecord(layer.op, kind, macs, inputs, (own + reads,), kernel, made if kernel else 0))
    fixed = np.array(list(axes), dtype=np.int64)
    units = np.zeros((len(fixed), 0), dtype=np.int64)
    return Network((), fixed, units, tuple(ops), tuple(tensors), tuple(weights))
