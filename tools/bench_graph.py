"""How long edgeprune's graph work takes, as a ratio of keras.models.clone_model on the same model in the same run.

    python tools/bench_graph.py                      # the largest models of keras.applications
    python tools/bench_graph.py ResNet50 MobileNetV2 --repeats 3

Targets: trace + groups in at most 1x the time of a clone, surgery in at most 2x. Exits 1 when one is missed.
Each number is the least of `--repeats` rounds; the rounds of a clone and of edgeprune's work take turns.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edgeprune.quiet import silence

LARGEST = ("NASNetLarge", "EfficientNetV2L", "ConvNeXtXLarge", "InceptionResNetV2", "ResNet152V2")
TRACE_LIMIT, SURGERY_LIMIT = 1.0, 2.0
KEPT_SHARE = 0.7


@dataclass(frozen=True)
class Row:
    """Seconds for one model. layers: how many layers it has."""

    name: str
    layers: int
    clone_secs: float
    trace_secs: float
    surgery_secs: float

    @property
    def within_limits(self) -> bool:
        return self.trace_secs <= TRACE_LIMIT * self.clone_secs and self.surgery_secs <= SURGERY_LIMIT * self.clone_secs

    def __str__(self) -> str:
        trace, surgery = self.trace_secs / self.clone_secs, self.surgery_secs / self.clone_secs
        return (
            f"{self.name:20} {self.layers:7} {self.clone_secs:9.2f} s {self.trace_secs:9.2f} s {trace:6.2f}x "
            f"{self.surgery_secs:9.2f} s {surgery:6.2f}x"
        )


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds that `work` took, and what it returned."""
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


def measure(name: str, repeats: int) -> Row:
    """Clone, trace and cut one model of keras.applications, `repeats` times in turn."""
    import keras
    import numpy as np

    from edgeprune.graph.groups import find_groups
    from edgeprune.graph.surgery import remove_channels
    from edgeprune.graph.trace import trace

    size = {"InceptionResNetV2": 75, "InceptionV3": 75, "Xception": 71}.get(name, 32)
    model = getattr(keras.applications, name)(weights=None, input_shape=(size, size, 3))
    rng = np.random.default_rng(0)

    def look() -> Any:
        traced = trace(model)
        return traced, find_groups(traced)

    rounds = []
    for _ in range(repeats):
        clone_secs, clone = timed(lambda: keras.models.clone_model(model))
        del clone
        trace_secs, (traced, groups) = timed(look)
        removed = [rng.choice(own, int(len(own) * (1 - KEPT_SHARE)), replace=False) for own in groups.units]
        keep_ids = groups.keep_ids(np.concatenate(removed))
        surgery_secs, smaller = timed(lambda traced=traced, keep=keep_ids: remove_channels(model, traced, keep))
        del smaller
        rounds.append((clone_secs, trace_secs, surgery_secs))
    clone_secs, trace_secs, surgery_secs = (min(column) for column in zip(*rounds, strict=True))
    return Row(name, len(model.layers), clone_secs, trace_secs, surgery_secs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=LARGEST, help="names in keras.applications")
    parser.add_argument("--repeats", type=int, default=2)
    arguments = parser.parse_args()
    silence()
    import keras

    print(f"{'model':20} {'layers':>7} {'clone':>11} {'trace+groups':>11} {'ratio':>7} {'surgery':>11} {'ratio':>7}")
    missed = []
    for name in arguments.models:
        row = measure(name, arguments.repeats)
        print(row, flush=True)
        if not row.within_limits:
            missed.append(name)
        keras.backend.clear_session()
    if missed:
        sys.exit(f"more than {TRACE_LIMIT:g}x (trace + groups) or {SURGERY_LIMIT:g}x (surgery): {', '.join(missed)}")


if __name__ == "__main__":
    main()
