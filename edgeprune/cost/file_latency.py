"""The latency of a TFLite file on a board, predicted from the file alone."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from math import inf

import numpy as np

from edgeprune.cost.counts import ExtentTable
from edgeprune.cost.file_network import file_network, mode_of
from edgeprune.cost.model import CostModel
from edgeprune.cost_rates import CostRates
from edgeprune.errors import InputError
from edgeprune.records.network import Network
from edgeprune.target import Target
from edgeprune.tflite.model import TfliteModel
from edgeprune.tflite.sparse_inference.clusters import rewrite
from edgeprune.tflite.sparse_inference.nodes import build_graph
from edgeprune.tflite.sparse_inference.partition import partitions
from edgeprune.tflite.sparse_inference.predict import predict
from edgeprune.tflite.sparse_inference.rules import rules_for

# Sparse kernels gather their inputs: their instructions take this many times as long as dense ones (targets/rpi4.toml).
_SPARSE_TIME = 1.4
# A rate at which computing takes no time; infinite ones have no ratio
_FREE = 1e30


@dataclass(frozen=True)
class OpPrediction:
    """One operation of the main graph.

    position: in the graph. name: TFLite's name. mode: whose kernels run it, "none" for float32. sparse: whether it runs
    a sparse kernel. macs: multiply-accumulates that are done, nonzero ones where it is sparse.
    """

    position: int
    name: str
    mode: str
    sparse: bool
    macs: int
    ms: float


@dataclass(frozen=True)
class FilePrediction:
    """The predicted latency of one inference; never measured.

    low_ms, high_ms: the band that the error of the target's rates gives, where predictions of published latencies that
    were left out of the fit lay 9 times out of 10. instructions: on one thread; None where the target's rates say
    nothing of instructions. energy_mj: millijoules, a rough estimate that serves to compare models; None where the
    target names no constants.
    """

    ms: float
    low_ms: float
    high_ms: float
    threads: int
    by_op: tuple[OpPrediction, ...]
    instructions: float | None
    energy_mj: float | None


def predict_file(model: TfliteModel, target: Target, *, threads: int | None = None) -> FilePrediction:
    """Predict the latency of a file's main graph on a target.

    1x1 convolutions that will run sparse kernels (`tflite.sparse_inference`) cost their nonzero weights, where the
    target promises a gain from them; everything else costs what dense weights cost.

    Args:
        model: a file that was read.
        target: the board, its runtime and its rates.
        threads: of the runtime; None for `target.threads`.

    Raises:
        InputError: fewer than one thread, or more than the board has cores.
    """
    threads = _checked(threads, target)
    sparse = sparse_convolutions(model, target)
    modes = np.array([mode_of(model, position) for position in range(len(model.main.operators))], dtype=object)
    plain = sparse if any(target.cost[mode].sparse_gmacs for mode in set(modes.tolist())) else frozenset[int]()
    network = file_network(model, plain)
    ms = np.zeros(len(modes))
    band = np.zeros((2, len(modes)))
    counted: list[float] | None = []
    for mode in sorted(set(modes.tolist())):
        rates, of_mode = target.cost[mode], modes == mode
        own = _op_ms(network, rates, mode, target) * of_mode * rates.time_ratio(target.threads, threads)
        ms += own
        band += np.stack([own * (1 - rates.error), own * (1 + rates.error)])
        counted = (
            None if counted is None or not rates.gips else [*counted, _count(network, rates, mode, target, of_mode)]
        )
    low, high = band.sum(axis=1)
    macs = ExtentTable([op.macs for op in network.ops]).values(network.widths(network.full))
    by_op = tuple(
        OpPrediction(position, name, modes[position], position in plain, int(macs[position]), float(ms[position]))
        for position, name in enumerate(model.op_names)
    )
    instructions = None if counted is None else sum(counted)
    energy = _energy_mj(network, modes, macs, target)
    return FilePrediction(float(ms.sum()), float(low), float(high), threads, by_op, instructions, energy)


def sparse_convolutions(model: TfliteModel, target: Target) -> frozenset[int]:
    """Positions of the 1x1 convolutions that will run sparse kernels on the target's runtime."""
    runtime = target.runtime
    found = predict(model, runtime.package, runtime.version, target.isa)
    if not any(cluster.sparse_convolutions for cluster in found.clusters):
        return frozenset()
    rules = rules_for(runtime.package, runtime.version)
    parts = [rewrite(build_graph(model, part, rules)) for part in partitions(model, rules) if part.hinted]
    return frozenset(
        part.graph.nodes[number].op for part in parts for number in part.engaged if part.graph.nodes[number].is_1x1
    )


def _checked(threads: int | None, target: Target) -> int:
    cores = sum(core.count for core in target.cores)
    if threads is None:
        return target.threads
    if not 1 <= threads <= cores:
        raise InputError(
            f"threads must be from 1 to {cores}, the cores of {target.title}, received {threads}; leave it out for "
            f"{target.threads}"
        )
    return threads


def _op_ms(network: Network, rates: CostRates, mode: str, target: Target) -> np.ndarray:
    """(ops,) float64: milliseconds on `target.threads` threads, as if all operations ran in this mode."""
    return CostModel(network, rates, mode, target.channel_multiple).op_latency_ms(network.full)


def _count(network: Network, rates: CostRates, mode: str, target: Target, of_mode: np.ndarray) -> float:
    """Instructions of the operations of one mode: what is left of their time without memory and starts."""
    ratio = rates.sparse_ratio * _SPARSE_TIME
    computing = dataclasses.replace(rates, copy_gb_s=inf, op_us=0.0, sparse_ratio=ratio)
    return float((_op_ms(network, computing, mode, target) * of_mode).sum()) * 1e6 * rates.gips


def _energy_mj(network: Network, modes: np.ndarray, macs: np.ndarray, target: Target) -> float | None:
    """Multiply-accumulates and bytes moved, at the target's energy for each."""
    energy = target.energy
    if energy is None:
        return None
    pj = float(np.where(modes == "none", energy.pj_per_mac, energy.pj_per_int8_mac) @ macs)
    # at no work but copying, at 1 GB/s, a millisecond is 1e6 bytes
    free = CostRates(_FREE, _FREE, _FREE, copy_gb_s=1.0, op_us=0.0)
    for mode in sorted(set(modes.tolist())):
        moved = (_op_ms(network, free, mode, target) * (modes == mode)).sum() * 1e6
        pj += float(moved) * energy.pj_per_byte
    return pj * 1e-9
