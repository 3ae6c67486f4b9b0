"""The latency of each operation as terms of the widths of its axes.

A matrix product runs in tiles of `conv_rows` positions x `conv_columns` output channels; a tile costs as much as its
inputs, plus a start that is counted in inputs. The tile sizes are those of the kernels that XNNPACK takes on the
board's cores, the rates and starts are fitted to instructions counted on emulated boards (tools/count_kernels.py).
"""

from __future__ import annotations

from collections.abc import Iterator

from edgeprune.cost.elementwise import instructions_per_value
from edgeprune.cost.polynomial import Term
from edgeprune.cost.precision import Precision
from edgeprune.cost.tiles import Tiles
from edgeprune.cost_rates import CostRates
from edgeprune.records.network import Extent, Network, OpRecord

COMPUTING = ("conv", "depthwise", "dense", "sparse")
# Storing an output of a sparse kernel costs as much as this many nonzero weights (emulated Cortex-A72).
_SPARSE_START = 0.9


class LatencyTerms:
    """Milliseconds of a network's operations in one quantization mode.

    channel_multiple: the kernel tile where `rates` do not name one.
    """

    def __init__(self, network: Network, rates: CostRates, precision: Precision, channel_multiple: int) -> None:
        self.network, self.rates, self.precision = network, rates, precision
        columns = int(rates.conv_columns) or channel_multiple
        self._columns = Tiles(columns, rates.conv_narrow)
        # the narrow kernel has the rows of the wide one, of which a dense layer uses one
        narrow = rates.conv_narrow * rates.conv_rows * rates.dense_gmacs / rates.conv_gmacs
        self._dense_columns = Tiles(columns, narrow)
        self._depthwise_columns = Tiles(int(rates.depthwise_columns) or channel_multiple)
        self._depth = Tiles(int(rates.conv_depth)) if rates.conv_depth > 1 else None

    def of(self, number: int) -> Iterator[Term]:
        """The terms of one operation; a constant start is not among them."""
        op = self.network.ops[number]
        if op.kind in COMPUTING:
            yield from self.compute(op)
        elif op.kind != "fused":
            yield from self._elementwise(op)
        if op.kind != "fused":
            yield from self._moves(op)

    def compute(self, op: OpRecord) -> Iterator[Term]:
        """What a computing operation's kernel takes, without the traffic to memory."""
        positions = self.positions(op)
        if op.kind == "depthwise":
            yield from self._depthwise(op, positions)
        elif op.kind == "sparse":
            ms = 1e-6 / (self.rates.sparse_gmacs or self.rates.conv_gmacs)
            yield Term(ms, op.macs)
            yield Term(ms * _SPARSE_START, Extent(positions, (op.axis,)))
        elif positions == 1 and op.axis:
            yield from self._product(op, 1, 1e-6 / self.rates.dense_gmacs, self._dense_columns, self.rates.dense_start)
        elif op.kind == "dense" and not op.axis:
            yield Term(1e-6 / self.rates.dense_gmacs, op.macs)
        else:
            rows = self.rates.conv_rows
            ms = 1e-6 / self.rates.conv_gmacs
            taps = op.macs.factor // positions
            start = self.rates.conv_start + self.rates.conv_tap * taps
            if self.rates.conv_input and op.inputs:
                yield Term(ms * self.rates.conv_input, self.network.tensors[op.inputs[0]].extent)
            ms *= -(-positions // rows) * rows / positions if positions > 1 else 1.0
            yield from self._product(op, positions, ms, self._columns, start)

    def positions(self, op: OpRecord) -> int:
        """Output positions: what the operation makes, per channel. All of `macs.factor` where that can't be told."""
        for tensor in op.outputs:
            extent = self.network.tensors[tensor].extent
            if op.axis and extent.axes == (op.axis,) and extent.factor and op.macs.factor % extent.factor == 0:
                return extent.factor
        return max(op.macs.factor, 1)

    def _product(self, op: OpRecord, positions: int, ms: float, columns: Tiles, start: float) -> Iterator[Term]:
        """A matrix product: inputs, and the start of each tile in inputs."""
        axes = list(op.macs.axes)
        tiles: list[Tiles | None] = [None] * len(axes)
        if op.axis:
            last = len(axes) - 1 - axes[::-1].index(op.axis)
            tiles[last] = columns
            if self._depth and len(axes) == 2:
                tiles[1 - last] = self._depth
        yield Term(ms, op.macs, tuple(tiles))
        if start and op.axis:
            yield Term(ms * start, Extent(positions, (op.axis,)), (columns,))

    def _depthwise(self, op: OpRecord, positions: int) -> Iterator[Term]:
        rates, ms = self.rates, 1e-6 / self.rates.depthwise_gmacs
        tiles = tuple(self._depthwise_columns if axis == op.axis else None for axis in op.macs.axes)
        yield Term(ms, op.macs, tiles)
        if op.axis:
            yield Term(ms * rates.depthwise_start, Extent(positions, (op.axis,)), (self._depthwise_columns,))
            yield Term(ms * rates.depthwise_tap, Extent(op.macs.factor))

    def _elementwise(self, op: OpRecord) -> Iterator[Term]:
        if self.rates.gips:
            each = 1e-6 * instructions_per_value(op.kind, self.precision.activation == 1) / self.rates.gips
            for tensor in (*op.inputs, *op.outputs):
                yield Term(each, self.network.tensors[tensor].extent)

    def _moves(self, op: OpRecord) -> Iterator[Term]:
        """Activations and kernels, once each."""
        per_byte = 1e-6 / self.rates.copy_gb_s
        for tensor in (*op.inputs, *op.outputs):
            yield Term(per_byte * self.precision.activation, self.network.tensors[tensor].extent)
        for weight in kernels(self.network, op):
            yield Term(per_byte * self.precision.kernel_ram, self.network.weights[weight].extent)


def kernels(network: Network, op: OpRecord) -> tuple[int, ...]:
    """The kernels that an operation reads."""
    return tuple(number for number in op.weights if network.weights[number].role == "kernel")
