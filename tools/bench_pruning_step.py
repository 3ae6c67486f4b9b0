"""What pruning costs per training step, as a ratio of the same model trained without, in the same run.

    python tools/bench_pruning_step.py                       # a small CNN and MobileNetV2 at 96x96
    python tools/bench_pruning_step.py cnn --steps 600

All trainings of a model take turns step by step in one process, so that a noisy machine disturbs them alike. "step" is
the median of the ratios of neighbouring steps; "update" the time of a mask update; "total" is the step with
updates shared over the steps between two (every 100, the default of TensorFlow's toolkit). TFMOT's wrappers
are compared with the same model in tf_keras, where they run. Targets: total at most 1.03x for the CNN and 1.01x for
MobileNetV2 (magnitude, unstructured). Exits 1 when one is missed.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeprune.quiet import silence

FREQUENCY = 100
LIMITS = {"cnn": 1.03, "mobilenet": 1.01}
# Steps that compile and warm up, not counted.
_WARM_UP = 10


class Baton:
    """Lets trainings go one step each in turn, and takes their times."""

    def __init__(self, runners: int) -> None:
        self.turn = threading.Condition()
        self.next = 0
        self.secs: list[list[float]] = [[] for _ in range(runners)]

    def take(self, runner: int) -> None:
        """Wait for the turn; the step's time begins."""
        with self.turn:
            self.turn.wait_for(lambda: self.next == runner)
        self.secs[runner].append(-time.perf_counter())

    def give(self, runner: int) -> None:
        """The step has ended."""
        self.secs[runner][-1] += time.perf_counter()
        with self.turn:
            self.next = (runner + 1) % len(self.secs)
            self.turn.notify_all()


def callbacks_around(base: type, baton: Baton, runner: int, inner: list[Any]) -> list[Any]:
    """`inner` between a callback that takes the baton and one that gives it on. base: the Callback class."""

    class Take(base):  # type: ignore[misc]
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            baton.take(runner)

    class Give(base):  # type: ignore[misc]
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            baton.give(runner)

    return [Take(), *inner, Give()]


def cnn(keras: Any) -> Any:
    """The small CNN of the Keras examples, 28x28 images, 10 classes."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dense(10),
        ]
    )


def mobilenet(keras: Any) -> Any:
    """MobileNetV2 at 96x96, 10 classes."""
    return keras.applications.MobileNetV2((96, 96, 3), weights=None, classes=10, classifier_activation=None)


MODELS: dict[str, tuple[Callable[[Any], Any], tuple[int, ...]]] = {
    "cnn": (cnn, (28, 28, 1)),
    "mobilenet": (mobilenet, (96, 96, 3)),
}


@dataclass(frozen=True)
class Run:
    """One way to train: a compiled model, its callbacks, the Callback class of its Keras, the run to compare with."""

    name: str
    model: Any
    callbacks: list[Any]
    base: type
    reference: int


def runs_of(name: str, steps: int, variants: list[tuple[str, str]], with_tfmot: bool) -> list[Run]:
    """Plain fit, our callback in each variant, and TFMOT's wrappers with their own plain fit."""
    import keras

    from edgeprune import PolynomialSchedule, PruningCallback

    make = MODELS[name][0]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def model() -> Any:
        made = make(keras)
        made.compile("adam", loss)
        return made

    base = keras.callbacks.Callback
    runs = [Run("plain fit", model(), [], base, 0)]
    for criterion, pattern in variants:
        schedule = PolynomialSchedule(0.8, begin=_WARM_UP, end=steps - 1, frequency=FREQUENCY)
        callback = PruningCallback(schedule, criterion, pattern)
        runs.append(Run(f"edgeprune {criterion} {pattern}", model(), [callback], base, 0))
    if with_tfmot:
        runs += tfmot_runs(name, steps, len(runs))
    return runs


def tfmot_runs(name: str, steps: int, first: int) -> list[Run]:
    """tf_keras without and with prune_low_magnitude."""
    import tensorflow_model_optimization as tfmot
    import tf_keras

    sparsity = tfmot.sparsity.keras
    loss = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    schedule = sparsity.PolynomialDecay(0.0, 0.8, _WARM_UP, steps, frequency=FREQUENCY)
    plain = MODELS[name][0](tf_keras)
    wrapped = sparsity.prune_low_magnitude(MODELS[name][0](tf_keras), schedule)
    for model in (plain, wrapped):
        model.compile("adam", loss)
    base = tf_keras.callbacks.Callback
    return [
        Run("tf_keras plain fit", plain, [], base, first),
        Run("TFMOT prune_low_magnitude", wrapped, [sparsity.UpdatePruningStep()], base, first),
    ]


def measure(runs: list[Run], shape: tuple[int, ...], steps: int, batch: int) -> list[np.ndarray]:
    """Seconds of every step of every run, taking turns."""
    random = np.random.default_rng(0)
    x = random.normal(size=(batch * steps, *shape)).astype("float32")
    y = random.integers(0, 10, len(x))
    baton = Baton(len(runs))
    failures: list[BaseException] = []

    def train(number: int, run: Run) -> None:
        callbacks = callbacks_around(run.base, baton, number, run.callbacks)
        try:
            run.model.fit(x, y, batch_size=batch, epochs=1, verbose=0, callbacks=callbacks, shuffle=False)
        except BaseException as error:  # whatever it is, the others would wait for ever
            failures.append(error)
            os._exit(print(f"{run.name}: {error}", file=sys.stderr) or 1)

    threads = [threading.Thread(target=train, args=(number, run)) for number, run in enumerate(runs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [np.array(secs[_WARM_UP:]) for secs in baton.secs]


def table(name: str, runs: list[Run], secs: list[np.ndarray]) -> bool:
    """Print one model's rows; whether magnitude pruning keeps its target."""
    print(f"\n{name}: plain step {np.median(secs[0]) * 1e3:.2f} ms")
    print(f"  {'training':38} {'step':>7} {'update':>10} {'total':>7}")
    within = True
    for run, own in zip(runs, secs, strict=True):
        plain = secs[run.reference]
        ratio = float(np.median(own / plain))
        updates = np.arange(len(own)) % FREQUENCY == 0
        quiet = np.median((own - plain)[~updates])
        update = max(float(np.median((own - plain)[updates]) - quiet), 0.0)
        total = ratio + update / FREQUENCY / float(np.median(plain))
        print(f"  {run.name:38} {ratio:6.3f}x {update * 1e3:7.2f} ms {total:6.3f}x")
        if run.name == "edgeprune magnitude unstructured":
            within = total <= LIMITS[name]
    return within


def main() -> int:
    """Measure and print; 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", help=f"of {', '.join(MODELS)}; default all")
    parser.add_argument("--steps", type=int, default=0, help="steps of each training (default 1000 cnn, 130 mobilenet)")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--without-tfmot", action="store_true", help="leave out tf_keras and TFMOT")
    arguments = parser.parse_args()
    unknown = set(arguments.models) - set(MODELS)
    if unknown:
        parser.error(f"unknown model {', '.join(sorted(unknown))}; choose from {', '.join(MODELS)}")
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")  # TFMOT reads it; Keras 3 is imported by its own name
    silence()
    within = True
    for name in arguments.models or MODELS:
        small = name == "cnn"
        variants = [("magnitude", "unstructured")]
        if small:
            variants += [("magnitude", "2:4"), ("magnitude", "1x4"), ("movement", "unstructured")]
        steps = arguments.steps or (1000 if small else 130)
        runs = runs_of(name, steps, variants, not arguments.without_tfmot)
        within &= table(name, runs, measure(runs, MODELS[name][1], steps, arguments.batch))
    return 0 if within else 1


if __name__ == "__main__":
    raise SystemExit(main())
