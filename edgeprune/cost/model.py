"""What a network costs on a target, for one plan or for many candidate plans at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeprune.cost.activations import Activations
from edgeprune.cost.change import Changes
from edgeprune.cost.latency_terms import COMPUTING, LatencyTerms
from edgeprune.cost.polynomial import Polynomial, Term, term_values
from edgeprune.cost.precision import PRECISIONS
from edgeprune.cost_rates import CostRates
from edgeprune.records.network import Extent, Network, OpRecord

# a 7x7 map padded by 3 on all sides has 3.4 times the positions
_LARGEST_PADDING = 4


@dataclass(frozen=True)
class Corrections:
    """Found by comparing a prediction with a real artifact of the same network, or with a board: bytes are added, the
    latency is multiplied."""

    size_bytes: int = 0
    ram_bytes: int = 0
    latency_factor: float = 1.0


class CostModel:
    """Predicted latency, file size and RAM of a network in one quantization mode.

    Latency of an operation: op_us + compute / rate + bytes moved / copy rate; `latency_terms` says what compute is.
    Where `rates` name no kernel tiles, output channels are rounded up to `channel_multiple`: removing less than a tile
    saves no time. `kept` is everywhere (groups,) or (groups, plans); results are scalars per plan. The `changed_...`
    methods give the same for plans that differ from one plan in one group each, in far less time; sums may differ in
    the last bits.
    """

    def __init__(
        self,
        network: Network,
        rates: CostRates,
        quantize: str,
        channel_multiple: int = 1,
        corrections: Corrections = Corrections(),
    ) -> None:
        self.network = network
        self.quantize = quantize
        self.precision = PRECISIONS[quantize]
        self.channel_multiple = channel_multiple
        self.corrections = corrections
        self._computes = [op.kind in COMPUTING for op in network.ops]
        pads = paddings(network)
        self._ms_per_op = [
            0.0 if op.kind == "fused" or number in pads else rates.op_us * 1e-3 for number, op in enumerate(network.ops)
        ]
        terms = LatencyTerms(network, rates, self.precision, channel_multiple)
        self._terms = [[] if number in pads else list(terms.of(number)) for number in range(len(network.ops))]
        every_term = [term for own in self._terms for term in own]
        self._latency = Polynomial(network, every_term, sum(self._ms_per_op))
        self._size = Polynomial(network, self._size_terms(), corrections.size_bytes)
        self._loaded = Polynomial(network, self._loaded_terms(), corrections.ram_bytes)
        self._activations = Activations(network, self.precision.activation)

    def latency_ms(self, kept: np.ndarray) -> np.ndarray:
        """Predicted milliseconds of one inference."""
        return self.corrections.latency_factor * self._latency.total(kept)

    def size_bytes(self, kept: np.ndarray) -> np.ndarray:
        """Predicted size of the .tflite file."""
        return self._size.total(kept)

    def ram_bytes(self, kept: np.ndarray) -> np.ndarray:
        """Lower bound of the peak RAM: loaded weights plus the most activation bytes alive at once."""
        return np.asarray(self._activations.peak_bytes(kept) + self._loaded.total(kept))

    def arena_ram_bytes(self, kept: np.ndarray) -> int:
        """Peak RAM with activations placed as the runtime places them (greedy by size). kept: (groups,)."""
        return int(self._activations.arena_bytes(kept) + self._loaded.total(kept))

    def changed_latency_ms(self, changes: Changes) -> np.ndarray:
        """(changes,) float64: `latency_ms` of every changed plan."""
        return self.corrections.latency_factor * self._latency.changed(changes)

    def changed_size_bytes(self, changes: Changes) -> np.ndarray:
        """(changes,) float64: `size_bytes` of every changed plan."""
        return self._size.changed(changes)

    def changed_ram_bytes(self, changes: Changes) -> np.ndarray:
        """(changes,) float64: `ram_bytes` of every changed plan."""
        return np.asarray(self._activations.changed_peak_bytes(changes) + self._loaded.changed(changes))

    def op_latency_ms(self, kept: np.ndarray) -> np.ndarray:
        """(ops,) float64: predicted milliseconds of every operation. kept: (groups,)."""
        values = term_values(self.network, [term for own in self._terms for term in own], kept)
        op = np.repeat(np.arange(len(self._terms)), [len(own) for own in self._terms])
        uncorrected = np.bincount(op, values, len(self._terms)) + self._ms_per_op
        return np.asarray(self.corrections.latency_factor * uncorrected)

    def _size_terms(self) -> list[Term]:
        """Kernels as stored; biases and folded BatchNorm ride on the channels of computing operations; a BatchNorm that
        can't be folded leaves a scale and a shift of its four vectors."""
        standing = {number for op in self.network.ops if op.kind == "copy" for number in op.weights}
        terms: list[Term] = []
        for number, weight in enumerate(self.network.weights):
            if weight.role in ("kernel", "other"):
                terms.append(Term(self.precision.kernel_file, weight.extent))
            elif weight.role == "norm" and number in standing:
                terms.append(Term(self.precision.activation / 2, weight.extent))
        for op, computes in zip(self.network.ops, self._computes, strict=True):
            if computes:
                terms.append(Term(self.precision.channel_file, Extent(1, (op.axis,))))
        return terms

    def _loaded_terms(self) -> list[Term]:
        weights = self.network.weights
        return [Term(self.precision.kernel_ram, w.extent) for w in weights if w.role in ("kernel", "other")]


def paddings(network: Network) -> frozenset[int]:
    """Operations that only pad what one convolution reads, which pads by itself: the output has the channels of the
    input and a little more positions.
    """
    readers: dict[int, list[OpRecord]] = {}
    for op in network.ops:
        for tensor in op.inputs:
            readers.setdefault(tensor, []).append(op)
    return frozenset(
        number
        for number, op in enumerate(network.ops)
        if op.kind == "copy"
        and len(op.inputs) == len(op.outputs) == 1
        and _grows(network.tensors[op.inputs[0]].extent, network.tensors[op.outputs[0]].extent)
        and [reader.kind in ("conv", "depthwise") for reader in readers.get(op.outputs[0], ())] == [True]
    )


def _grows(before: Extent, after: Extent) -> bool:
    return before.axes == after.axes and before.factor < after.factor < _LARGEST_PADDING * before.factor
