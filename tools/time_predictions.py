"""How long the latency of candidate plans of a deep network takes to predict.

    python tools/time_predictions.py [--layers 300] [--target rpi4]

A chain of convolutions, each with channels of its own to prune. Allocation asks for one plan, for many plans side by
side, and for many plans that differ from one in one layer.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

from edgeprune.cost.change import Changes
from edgeprune.cost.model import CostModel
from edgeprune.cost_rates import QUANTIZE_MODES
from edgeprune.records.network import Extent, GroupRecord, Network, OpRecord, TensorRecord, WeightRecord
from edgeprune.target import load_target

PLANS = 200
REPEATS = 9


def chain(layers: int) -> Network:
    """`layers` 3x3 convolutions of 64 channels on 7x7 positions, each a group of its own."""
    groups = tuple(GroupRecord(f"g{g}", 64, (f"g{g}",)) for g in range(layers))
    units = np.eye(layers + 1, layers, k=-1, dtype=np.int64)
    weights = tuple(WeightRecord(f"g{g}", "kernel", Extent(9, (g, g + 1))) for g in range(layers))
    ops = tuple(
        OpRecord(f"g{g}", "conv", Extent(9 * 49, (g, g + 1)), (g,), (g + 1,), (g,), g + 1) for g in range(layers)
    )
    tensors = tuple(TensorRecord(Extent(49, (t,)), max(t - 1, 0), min(t, layers - 1)) for t in range(layers + 1))
    return Network(groups, np.array([1] + [0] * layers), units, ops, tensors, weights)


def fastest_ms(work: Callable[[], object]) -> float:
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return 1000 * min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--layers", type=int, default=300)
    parser.add_argument("--target", default="rpi4")
    arguments = parser.parse_args()
    network, target = chain(arguments.layers), load_target(arguments.target)
    plans = np.repeat(network.full[:, None], PLANS, axis=1)
    changes = Changes(network.full, np.arange(PLANS) % arguments.layers, np.full(PLANS, 32))
    print(f"{arguments.layers} layers, {target.title}; milliseconds, fastest of {REPEATS}")
    print(f"{'mode':8} {'one plan':>9} {f'{PLANS} plans':>10} {f'{PLANS} changes':>12}")
    for mode in QUANTIZE_MODES:
        model = CostModel(network, target.cost[mode], mode, target.channel_multiple)
        one = fastest_ms(lambda model=model: model.latency_ms(network.full))
        many = fastest_ms(lambda model=model: model.latency_ms(plans))
        changed = fastest_ms(lambda model=model: model.changed_latency_ms(changes))
        print(f"{mode:8} {one:9.2f} {many:10.2f} {changed:12.2f}")


if __name__ == "__main__":
    main()
