"""Time and memory of ranking all weights of a model at once: edgeprune's selection against sorting a copy.

    python tools/bench_global_ranking.py                       # 100 M weights: needs 1 GB of RAM
    python tools/bench_global_ranking.py --weights 20000000 --sparsity 0.8

Both make the same masks, which is checked. Memory is the peak of what numpy allocates besides the scores, with the
masks (1 byte per weight) that both return. Time is measured in runs of their own, the least of `--repeats`.
"""

from __future__ import annotations

import argparse
import sys
import time
import tracemalloc
from collections.abc import Callable

import numpy as np

from edgeprune.sparsity.threshold import keep_largest

Masks = list[np.ndarray]
LAYERS = 50


def random_scores(weights: int) -> list[np.ndarray]:
    """float32 magnitudes of `LAYERS` layers, whose sizes and scales differ."""
    rng = np.random.default_rng(0)
    sizes = np.diff(np.linspace(0, 1, LAYERS + 1) ** 2 * weights, prepend=0.0)[1:].astype(int)
    sizes[-1] += weights - sizes.sum()
    return [np.abs(rng.standard_normal(size, dtype=np.float32)) * (1 + rng.random(dtype=np.float32)) for size in sizes]


def sort_a_copy(scores: Masks, remove: int) -> Masks:
    """The plain way. Equal scores at the threshold are removed in order, as `keep_largest` does."""
    ranked = np.concatenate(scores)
    ranked.sort()
    threshold = ranked[remove - 1]
    ties = remove - int(np.searchsorted(ranked, threshold))
    masks = []
    for values in scores:
        mask = values >= threshold
        tied = np.flatnonzero(values == threshold)[:ties]
        mask[tied] = False
        ties -= tied.size
        masks.append(mask)
    return masks


def peak_mb(work: Callable[[Masks, int], Masks], scores: Masks, remove: int) -> tuple[float, Masks]:
    """The most that was allocated at a time, in MB, and the masks."""
    tracemalloc.start()
    masks = work(scores, remove)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak / 1e6, masks


def least_secs(work: Callable[[Masks, int], Masks], scores: Masks, remove: int, repeats: int) -> float:
    taken = []
    for _ in range(repeats):
        started = time.perf_counter()
        work(scores, remove)
        taken.append(time.perf_counter() - started)
    return min(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--weights", type=int, default=100_000_000)
    parser.add_argument("--sparsity", type=float, default=0.9)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.weights < LAYERS**2 or not 0 < arguments.sparsity < 1 or arguments.repeats < 1:
        parser.error(f"allowed: --weights from {LAYERS**2}, --sparsity above 0 and below 1, --repeats from 1")
    scores = random_scores(arguments.weights)
    remove = round(arguments.weights * arguments.sparsity)

    print(f"{arguments.weights:,} float32 scores in {LAYERS} layers, {remove:,} removed")
    print(f"{'method':14} {'time':>10} {'peak memory':>14} {'of it masks':>14}")
    found = []
    for name, work in (("keep_largest", keep_largest), ("sort of a copy", sort_a_copy)):
        memory_mb, masks = peak_mb(work, scores, remove)
        found.append(masks)
        secs = least_secs(work, scores, remove, arguments.repeats)
        print(f"{name:14} {secs:8.2f} s {memory_mb:11.1f} MB {arguments.weights / 1e6:11.1f} MB", flush=True)
    if not all(np.array_equal(ours, plain) for ours, plain in zip(*found, strict=True)):
        sys.exit("the masks differ")
    print("the masks are equal")


if __name__ == "__main__":
    main()
