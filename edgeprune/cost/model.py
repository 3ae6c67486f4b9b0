"""What a network costs on a target, for one plan or for many candidate plans at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from edgeprune.cost.counts import ExtentTable, alive_matrix
from edgeprune.cost.precision import PRECISIONS
from edgeprune.records.network import Network
from edgeprune.target import CostRates
from edgeprune.tflite.arena import plan_arena


@dataclass(frozen=True)
class Corrections:
    """Constants found by comparing a prediction with a real artifact of the same network, in bytes."""

    size_bytes: int = 0
    ram_bytes: int = 0


class CostModel:
    """Predicted latency, file size and RAM of a network in one quantization mode.

    Latency of an operation: op_us + macs / rate + bytes moved / copy rate, where output channels are rounded up to
    the runtime's kernel tile (`channel_multiple`): removing less than a tile saves no time. `kept` is everywhere
    (groups,) or (groups, plans); results are scalars per plan.
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
        ops, weights = network.ops, network.weights
        self._macs = ExtentTable([op.macs for op in ops])
        self._weights = ExtentTable([weight.extent for weight in weights])
        self._tensors = ExtentTable([tensor.extent for tensor in network.tensors])
        rate = {"conv": rates.conv_gmacs, "depthwise": rates.depthwise_gmacs, "dense": rates.dense_gmacs}
        self._ms_per_mac = np.array([1e-6 / rate[op.kind] if op.kind in rate else 0.0 for op in ops])
        self._ms_per_op = np.array([0.0 if op.kind == "fused" else rates.op_us * 1e-3 for op in ops])
        self._ms_per_byte = 1e-6 / rates.copy_gb_s
        self._out_axis = np.array([op.axis for op in ops], dtype=np.int64)
        self._moves = _incidence([(*op.inputs, *op.outputs) for op in ops], len(network.tensors))
        kernels = [tuple(w for w in op.weights if weights[w].role == "kernel") for op in ops]
        self._reads = _incidence(kernels, len(weights))
        self._file_bytes = self._bytes_in_file()
        self._is_kernel = np.array([weight.role in ("kernel", "other") for weight in weights], dtype=np.int64)
        self._computes = np.array([op.kind in rate for op in ops], dtype=np.int64)
        self._alive = csr_matrix(alive_matrix(network))
        self._first = np.array([tensor.first_use for tensor in network.tensors])
        self._last = np.array([tensor.last_use for tensor in network.tensors])

    def op_latency_ms(self, kept: np.ndarray) -> np.ndarray:
        """(ops,) or (ops, plans) float64: predicted milliseconds of every operation."""
        widths = self.network.widths(kept).astype(np.float64)
        columns = (slice(None),) + (None,) * (kept.ndim - 1)
        out = widths[self._out_axis]
        # np.maximum: an axis that a plan has emptied must not divide by zero
        rounded = np.ceil(out / self.channel_multiple) * self.channel_multiple / np.maximum(out, 1)
        macs = self._macs.values(widths) * rounded
        moved = self._moves @ self._tensors.values(widths) * self.precision.activation
        moved += self._reads @ self._weights.values(widths) * self.precision.kernel_ram
        return np.asarray(macs * self._ms_per_mac[columns] + moved * self._ms_per_byte + self._ms_per_op[columns])

    def latency_ms(self, kept: np.ndarray) -> np.ndarray:
        """Predicted milliseconds of one inference."""
        return np.asarray(self.op_latency_ms(kept).sum(axis=0))

    def size_bytes(self, kept: np.ndarray) -> np.ndarray:
        """Predicted size of the .tflite file."""
        widths = self.network.widths(kept)
        weights = self._file_bytes @ self._weights.values(widths)
        channels = self._computes @ widths[self._out_axis]
        return np.asarray(weights + channels * self.precision.channel_file + self.corrections.size_bytes)

    def ram_bytes(self, kept: np.ndarray) -> np.ndarray:
        """Lower bound of the peak RAM: loaded weights plus the most activation bytes alive at once."""
        activations = self._tensors.values(self.network.widths(kept)) * self.precision.activation
        peak = (self._alive @ activations).max(axis=0, initial=0)
        return np.asarray(peak + self._loaded(kept) + self.corrections.ram_bytes)

    def arena_ram_bytes(self, kept: np.ndarray) -> int:
        """Peak RAM with activations placed as the runtime places them (greedy by size). kept: (groups,)."""
        activations = self._tensors.values(self.network.widths(kept)) * self.precision.activation
        used = self._last >= 0
        _, peak = plan_arena(activations[used], self._first[used], self._last[used])
        return int(peak + self._loaded(kept) + self.corrections.ram_bytes)

    def _loaded(self, kept: np.ndarray) -> np.ndarray:
        return np.asarray(self._is_kernel @ self._weights.values(self.network.widths(kept)) * self.precision.kernel_ram)

    def _bytes_in_file(self) -> np.ndarray:
        """(weights,) bytes per element: kernels as stored; biases and folded BatchNorm ride on the channels;
        a BatchNorm that can't be folded leaves a scale and a shift of its four vectors."""
        standing = {number for op in self.network.ops if op.kind == "copy" for number in op.weights}
        kernel, activation = self.precision.kernel_file, self.precision.activation
        found = []
        for number, weight in enumerate(self.network.weights):
            if weight.role in ("kernel", "other"):
                found.append(float(kernel))
            else:
                found.append(activation / 2 if weight.role == "norm" and number in standing else 0.0)
        return np.array(found)


def _incidence(rows: list[tuple[int, ...]], columns: int) -> csr_matrix:
    """(rows, columns) with how often each row names each column."""
    row = np.repeat(np.arange(len(rows)), [len(entry) for entry in rows])
    column = np.array([number for entry in rows for number in entry], dtype=np.int64)
    return csr_matrix((np.ones(len(column)), (row, column)), shape=(len(rows), columns))
