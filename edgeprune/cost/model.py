"""What a network costs on a target, for one plan or for many candidate plans at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from edgeprune.cost.activations import Activations
from edgeprune.cost.change import Changes
from edgeprune.cost.counts import ExtentTable
from edgeprune.cost.polynomial import Polynomial
from edgeprune.cost.precision import PRECISIONS
from edgeprune.records.network import Extent, Network
from edgeprune.target import CostRates

Term = tuple[float, Extent, int]


@dataclass(frozen=True)
class Corrections:
    """Found by comparing a prediction with a real artifact of the same network, or with a board: bytes are added, the
    latency is multiplied."""

    size_bytes: int = 0
    ram_bytes: int = 0
    latency_factor: float = 1.0


class CostModel:
    """Predicted latency, file size and RAM of a network in one quantization mode.

    Latency of an operation: op_us + macs / rate + bytes moved / copy rate, where output channels are rounded up to
    the runtime's kernel tile (`channel_multiple`): removing less than a tile saves no time. `kept` is everywhere
    (groups,) or (groups, plans); results are scalars per plan. The `changed_...` methods give the same for plans that
    differ from one plan in one group each, in far less time; sums may differ in the last bits.
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
        rate = {"conv": rates.conv_gmacs, "depthwise": rates.depthwise_gmacs, "dense": rates.dense_gmacs}
        self._computes = [op.kind in rate for op in network.ops]
        self._ms_per_mac = [1e-6 / rate[op.kind] if op.kind in rate else 0.0 for op in network.ops]
        self._ms_per_op = [0.0 if op.kind == "fused" else rates.op_us * 1e-3 for op in network.ops]
        self._ms_per_byte = 1e-6 / rates.copy_gb_s
        self._latency = Polynomial(network, self._latency_terms(), sum(self._ms_per_op), channel_multiple)
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
        ops, weights = self.network.ops, self.network.weights
        widths = self.network.widths(kept).astype(np.float64)
        axis = np.array([op.axis for op in ops], dtype=np.int64)
        # np.maximum: an axis that a plan has emptied must not divide by zero
        out = np.maximum(widths[axis], 1.0)
        # an operation without an output axis (0) has no channels to round
        tiled = np.where(axis > 0, np.ceil(out / self.channel_multiple) * self.channel_multiple, out)
        macs = ExtentTable([op.macs for op in ops]).values(widths) / out * tiled
        moves = _incidence([(*op.inputs, *op.outputs) for op in ops], len(self.network.tensors))
        reads = _incidence([_kernels(self.network, number) for number in range(len(ops))], len(weights))
        tensors = ExtentTable([tensor.extent for tensor in self.network.tensors]).values(widths)
        moved = moves @ tensors * self.precision.activation
        moved += reads @ ExtentTable([weight.extent for weight in weights]).values(widths) * self.precision.kernel_ram
        uncorrected = macs * self._ms_per_mac + moved * self._ms_per_byte + self._ms_per_op
        return np.asarray(self.corrections.latency_factor * uncorrected)

    def _latency_terms(self) -> list[Term]:
        network = self.network
        terms: list[Term] = []
        for number, op in enumerate(network.ops):
            terms.append((self._ms_per_mac[number], op.macs, op.axis))
            for tensor in (*op.inputs, *op.outputs):
                terms.append((self._ms_per_byte * self.precision.activation, network.tensors[tensor].extent, 0))
            for weight in _kernels(network, number):
                terms.append((self._ms_per_byte * self.precision.kernel_ram, network.weights[weight].extent, 0))
        return terms

    def _size_terms(self) -> list[Term]:
        """Kernels as stored; biases and folded BatchNorm ride on the channels of computing operations; a BatchNorm that
        can't be folded leaves a scale and a shift of its four vectors."""
        standing = {number for op in self.network.ops if op.kind == "copy" for number in op.weights}
        terms: list[Term] = []
        for number, weight in enumerate(self.network.weights):
            if weight.role in ("kernel", "other"):
                terms.append((self.precision.kernel_file, weight.extent, 0))
            elif weight.role == "norm" and number in standing:
                terms.append((self.precision.activation / 2, weight.extent, 0))
        for op, computes in zip(self.network.ops, self._computes, strict=True):
            if computes:
                terms.append((self.precision.channel_file, Extent(1, (op.axis,)), 0))
        return terms

    def _loaded_terms(self) -> list[Term]:
        weights = self.network.weights
        return [(self.precision.kernel_ram, w.extent, 0) for w in weights if w.role in ("kernel", "other")]


def _kernels(network: Network, op: int) -> tuple[int, ...]:
    """The kernels that an operation reads."""
    return tuple(number for number in network.ops[op].weights if network.weights[number].role == "kernel")


def _incidence(rows: list[tuple[int, ...]], columns: int) -> csr_matrix:
    """(rows, columns) with how often each row names each column."""
    row = np.repeat(np.arange(len(rows)), [len(entry) for entry in rows])
    column = np.array([number for entry in rows for number in entry], dtype=np.int64)
    return csr_matrix((np.ones(len(column)), (row, column)), shape=(len(rows), columns))
