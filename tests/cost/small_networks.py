"""Networks built by hand, and their costs by plain loops over the records: the oracle of cost/ and plan/."""

from __future__ import annotations

import numpy as np

from edgeprune.cost_rates import CostRates
from edgeprune.records.network import Extent, GroupRecord, Network, OpRecord, TensorRecord, WeightRecord

# 1, 2 and 4 MACs per nanosecond, half a byte per nanosecond, 3 us per operation
RATES = CostRates(conv_gmacs=1.0, depthwise_gmacs=2.0, dense_gmacs=4.0, copy_gb_s=0.5, op_us=3.0)
# The same in powers of two of a millisecond per MAC or byte: sums of them are exact in any order.
EXACT_RATES = CostRates(conv_gmacs=1e-6 * 16, depthwise_gmacs=1e-6 * 4, dense_gmacs=1e-6 * 8, copy_gb_s=1e-6, op_us=1e3)

# mode: bytes of (a kernel element in the file, the same in memory, what a channel adds to the file, an activation).
# A channel has a bias; where the kernel is int8 a scale (float32) and a zero point (int64); int8 biases have both too.
BYTES = {"none": (4, 4, 4, 4), "float16": (2, 4, 2, 4), "dynamic": (1, 1, 4 + 12, 4), "int8": (1, 1, 4 + 12 + 12, 1)}


def mobile_block() -> Network:
    """4x4x3 -> conv 3x3 to A=16 -> BatchNorm (folded) -> depthwise 3x3 -> conv 1x1 to B=12 -> sum over positions
    -> dense to 10, all with biases, SAME padding and batch 1.

    Axes: 0 is 1, 1 is the image's 3 channels, 2 is A, 3 is B, 4 is the 10 classes.
    """
    groups = (GroupRecord("conv", 16, ("conv",)), GroupRecord("project", 12, ("project",)))
    weights = (
        WeightRecord("conv", "kernel", Extent(9, (1, 2))),
        WeightRecord("conv", "bias", Extent(1, (2,))),
        *(WeightRecord("norm", "norm", Extent(1, (2,))) for _ in range(4)),
        WeightRecord("depthwise", "kernel", Extent(9, (2,))),
        WeightRecord("depthwise", "bias", Extent(1, (2,))),
        WeightRecord("project", "kernel", Extent(1, (2, 3))),
        WeightRecord("project", "bias", Extent(1, (3,))),
        WeightRecord("classes", "kernel", Extent(1, (3, 4))),
        WeightRecord("classes", "bias", Extent(1, (4,))),
    )
    ops = (
        OpRecord("conv", "conv", Extent(16 * 9, (1, 2)), (0,), (1,), (0, 1), 2),
        OpRecord("norm", "fused", Extent(0), (), (), (2, 3, 4, 5), 0),
        OpRecord("depthwise", "depthwise", Extent(16 * 9, (2,)), (1,), (3,), (6, 7), 2),
        OpRecord("project", "conv", Extent(16, (2, 3)), (3,), (4,), (8, 9), 3),
        OpRecord("pool", "copy", Extent(0), (4,), (5,), (), 0),
        OpRecord("classes", "dense", Extent(1, (3, 4)), (5,), (6,), (10, 11), 4),
    )
    tensors = (
        TensorRecord(Extent(16, (1,)), 0, 5),  # the image lives throughout
        TensorRecord(Extent(16, (2,)), 0, 2),
        TensorRecord(Extent(16, (2,)), 6, -1),  # what the folded BatchNorm made: never exists
        TensorRecord(Extent(16, (2,)), 2, 3),
        TensorRecord(Extent(16, (3,)), 3, 4),
        TensorRecord(Extent(1, (3,)), 4, 5),
        TensorRecord(Extent(1, (4,)), 0, 5),
    )
    units = np.zeros((5, 2), dtype=np.int64)
    units[2, 0] = units[3, 1] = 1
    return Network(groups, np.array([1, 3, 0, 0, 10]), units, ops, tensors, weights)


def random_network(seed: int) -> Network:
    """A few groups and operations of every kind: axes that mix groups (concatenation), repeat them (flatten), or are
    fixed; operations whose input and output axis are one (a residual), and some without an axis (no rule)."""
    rng = np.random.default_rng(seed)
    n_groups = int(rng.integers(1, 5))
    groups = tuple(GroupRecord(f"g{g}", int(rng.integers(1, 21)), (f"g{g}",)) for g in range(n_groups))
    fixed, units = [1, int(rng.integers(1, 5))], [np.zeros(n_groups, dtype=np.int64)] * 2
    for _ in range(int(rng.integers(n_groups, 2 * n_groups + 2))):
        row = rng.integers(0, 3, n_groups) * (rng.random(n_groups) < 0.5)
        fixed.append(int(rng.integers(0, 4)) + (0 if row.any() else 1))
        units.append(row)
    weights: list[WeightRecord] = []
    ops: list[OpRecord] = []
    n_ops = int(rng.integers(1, 9))
    n_tensors = n_ops + 2

    def axis() -> int:
        return int(rng.integers(1, len(fixed)))

    for number in range(n_ops):
        kind = str(rng.choice(["conv", "depthwise", "dense", "copy", "fused"]))
        own: list[int] = []
        incoming, outgoing = axis(), axis()
        if kind in ("conv", "depthwise", "dense"):
            over = (incoming, outgoing) if kind != "depthwise" else (outgoing,)
            if kind == "conv" and rng.random() < 0.2:
                over, outgoing = (), 0  # a layer without a rule
            macs = Extent(int(rng.integers(1, 50)), over)
            roles = [("kernel", over), ("bias", over[-1:])]
        else:
            macs, outgoing = Extent(0), 0
            roles = [("norm", (incoming,)), ("other", (incoming,))]
        for role, axes in roles:
            own.append(len(weights))
            weights.append(WeightRecord(f"op{number}", role, Extent(int(rng.integers(1, 10)), axes)))
        tensors = tuple(int(t) for t in rng.integers(0, n_tensors, size=3))
        ops.append(OpRecord(f"op{number}", kind, macs, tensors[:2], tensors[2:], tuple(own), outgoing))
    records = []
    for _ in range(n_tensors):
        first = int(rng.integers(0, n_ops))
        last = int(rng.integers(first, n_ops))
        unused = rng.random() < 0.2
        extent = Extent(int(rng.integers(1, 30)), (axis(),))
        records.append(TensorRecord(extent, n_ops if unused else first, -1 if unused else last))
    return Network(groups, np.array(fixed), np.array(units), tuple(ops), tuple(records), tuple(weights))


def random_plan(network: Network, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, network.full + 1)


def value(network: Network, extent: Extent, kept: np.ndarray) -> int:
    product = extent.factor
    for axis in extent.axes:
        product *= width(network, axis, kept)
    return product


def width(network: Network, axis: int, kept: np.ndarray) -> int:
    units = sum(int(per) * int(count) for per, count in zip(network.axis_units[axis], kept, strict=True))
    return int(network.axis_fixed[axis]) + units


def latency_ms(network: Network, rates: CostRates, mode: str, multiple: int, kept: np.ndarray) -> list[float]:
    """Milliseconds of every operation, one by one, of rates that name no kernels."""
    found = []
    for number, op in enumerate(network.ops):
        macs: float = value(network, op.macs, kept)
        if op.axis:
            channels = width(network, op.axis, kept)
            tiles = -(-channels // multiple)
            macs = macs // max(channels, 1) * tiles * multiple
        moved = sum(value(network, network.tensors[t].extent, kept) for t in op.inputs + op.outputs) * BYTES[mode][3]
        kernels = [w for w in op.weights if network.weights[w].role == "kernel"]
        moved += sum(value(network, network.weights[w].extent, kept) for w in kernels) * BYTES[mode][1]
        rate = gmacs(network, rates, op)
        ms = macs * (1e-6 / rate) if rate else 0.0
        ms += moved * (1e-6 / rates.copy_gb_s) + rates.op_us * 1e-3
        found.append(0.0 if op.kind == "fused" or pads(network, number) else ms)
    return found


def gmacs(network: Network, rates: CostRates, op: OpRecord) -> float:
    """A matrix product runs a dense layer's kernel at one position, a convolution's at several."""
    if op.kind not in ("conv", "dense"):
        return rates.depthwise_gmacs if op.kind == "depthwise" else 0.0
    if not op.axis:
        return rates.conv_gmacs if op.kind == "conv" else rates.dense_gmacs
    (made,) = [network.tensors[tensor].extent for tensor in op.outputs]
    known = made.axes == (op.axis,) and op.macs.factor % made.factor == 0
    return rates.conv_gmacs if (made.factor if known else op.macs.factor) > 1 else rates.dense_gmacs


def pads(network: Network, number: int) -> bool:
    """Whether an operation only makes a map larger for the one convolution that reads it."""
    op = network.ops[number]
    if op.kind != "copy" or len(op.inputs) != 1 or len(op.outputs) != 1:
        return False
    before, after = (network.tensors[t].extent for t in op.inputs + op.outputs)
    readers = [reader.kind for reader in network.ops for tensor in reader.inputs if tensor == op.outputs[0]]
    grows = before.axes == after.axes and before.factor < after.factor < 4 * before.factor
    return grows and readers in (["conv"], ["depthwise"])


def size_bytes(network: Network, mode: str, kept: np.ndarray) -> float:
    kernel_bytes, _, channel_bytes, activation_bytes = BYTES[mode]
    total = 0.0
    for number, weight in enumerate(network.weights):
        elements = value(network, weight.extent, kept)
        standing = any(op.kind == "copy" and number in op.weights for op in network.ops)
        if weight.role in ("kernel", "other"):
            total += elements * kernel_bytes
        elif weight.role == "norm" and standing:
            total += elements * activation_bytes / 2  # four vectors become a scale and a shift
    computing = [op for op in network.ops if op.kind in ("conv", "depthwise", "dense")]
    return total + sum(width(network, op.axis, kept) for op in computing) * channel_bytes


def ram_bytes(network: Network, mode: str, kept: np.ndarray) -> float:
    _, kernel_bytes, _, activation_bytes = BYTES[mode]
    peak = 0
    for step in range(len(network.ops)):
        alive = [tensor for tensor in network.tensors if tensor.first_use <= step <= tensor.last_use]
        peak = max(peak, sum(value(network, tensor.extent, kept) for tensor in alive) * activation_bytes)
    loaded = [weight for weight in network.weights if weight.role in ("kernel", "other")]
    return peak + sum(value(network, weight.extent, kept) for weight in loaded) * kernel_bytes
