"""Compare ways to prune inside training on Fashion-MNIST: test accuracy at 50, 80, 90 and 95 % zeros, several seeds.

    python tools/compare_pruning.py --limit 20000 --epochs 8 --seeds 3 -o /tmp/compare-pruning

Every training of a seed starts from the same weights and sees the same batches, for the same epochs with the same
learning rates; sparsity counts kernels only, which are ranked together where the name doesn't say otherwise. Only
tickets with rewinding train longer, rounds + 1 times the epochs, as the table says. TFMOT's wrappers prune each layer
of the same network in tf_keras. Prints one table of the mean change from the dense network in points with the single
seeds; --json writes all numbers. Interrupted, the same command continues.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "fashion_mnist"
SPARSITIES = (0.5, 0.8, 0.9, 0.95)
# The cubic ramp of all methods that have one, in parts of the training: early, while the learning rate is high.
RAMP = (0.1, 0.5)
TICKET_ROUNDS = 3
BATCH = 128
DENSE = "dense"
# Where TFMOT is compared, and where 2:4 can be.
ONLY_AT = {"2:4": (0.5,), "TFMOT magnitude": (0.8, 0.9)}
METHODS = (
    "magnitude",
    "magnitude, each layer",
    "movement",
    "SNIP",
    "GraSP",
    "IMP",
    "IMP, rewinding",
    "2:4",
    "1x4 blocks",
    "TFMOT magnitude",
)


def network(keras: Any) -> Any:
    """Two convolutions and two Dense layers with BatchNorm, 28x28 images, 10 classes; logits."""
    layers = keras.layers
    image = keras.Input((28, 28, 1))
    x = image
    for channels in (16, 32):
        x = layers.Conv2D(channels, 3, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        x = layers.MaxPooling2D()(x)
    x = layers.Dense(128, use_bias=False)(layers.Flatten()(x))
    x = layers.ReLU()(layers.BatchNormalization()(x))
    return keras.Model(image, layers.Dense(10)(x))


def compiled(keras: Any, model: Any, steps: int) -> Any:
    """Adam with a half cosine from 0.002 to zero over `steps`."""
    rate = keras.optimizers.schedules.CosineDecay(0.002, steps)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate), loss, metrics=["accuracy"])
    return model


class Trainer:
    """All trainings of one seed."""

    def __init__(self, limit: int, epochs: int, seed: int) -> None:
        sys.path.insert(0, str(EXAMPLE))
        from data import load

        (x, y), self.test = load()
        order = np.random.default_rng(seed).permutation(len(x))[:limit]
        self.x, self.y = x[order], y[order]
        self.epochs, self.seed = epochs, seed
        self.steps = epochs * -(-len(self.x) // BATCH)

    def train(self, callback: Any = None) -> tuple[Any, int]:
        """The network after one training with our callback; and its epochs."""
        import keras

        keras.utils.set_random_seed(self.seed)
        model = compiled(keras, network(keras), self.steps)
        callbacks = [] if callback is None else [callback]
        model.fit(self.x, self.y, batch_size=BATCH, epochs=self.epochs, verbose=0, callbacks=callbacks)
        return model, self.epochs

    def ticket(self, sparsity: float) -> tuple[Any, int]:
        """Iterative pruning with weights rewound to epoch 1 (Frankle et al. 2020)."""
        import keras

        import edgeprune

        keras.utils.set_random_seed(self.seed)
        model = compiled(keras, network(keras), self.steps)

        def fit(model: Any, callbacks: list[Any]) -> Any:
            keras.utils.set_random_seed(self.seed)
            return model.fit(self.x, self.y, batch_size=BATCH, epochs=self.epochs, verbose=0, callbacks=callbacks)

        fraction = 1 - (1 - sparsity) ** (1 / TICKET_ROUNDS)
        edgeprune.find_ticket(model, fit, TICKET_ROUNDS, fraction, rewind_to="epoch:1")
        return model, self.epochs * (TICKET_ROUNDS + 1)

    def tfmot(self, sparsity: float) -> tuple[Any, int]:
        """TFMOT's wrappers on the same network in tf_keras, stripped."""
        import tensorflow_model_optimization as tfmot
        import tf_keras

        tf_keras.utils.set_random_seed(self.seed)
        pruning = tfmot.sparsity.keras
        begin, end = (round(part * self.steps) for part in RAMP)
        schedule = pruning.PolynomialDecay(0.0, sparsity, begin, end, frequency=max((end - begin) // 100, 1))
        model = compiled(tf_keras, pruning.prune_low_magnitude(network(tf_keras), schedule), self.steps)
        callbacks = [pruning.UpdatePruningStep()]
        model.fit(self.x, self.y, batch_size=BATCH, epochs=self.epochs, verbose=0, callbacks=callbacks)
        return pruning.strip_pruning(model), self.epochs

    def run(self, method: str, sparsity: float) -> dict[str, float]:
        """Train by one method; test accuracy, share of zeros in kernels, epochs."""
        from edgeprune import IterativeSchedule, OneShotSchedule, PolynomialSchedule, PruningCallback

        ramp = PolynomialSchedule(sparsity, begin=RAMP[0], end=RAMP[1]) if sparsity else None
        once = OneShotSchedule(sparsity)
        rounds = max(self.epochs // 2, 1)
        data = (self.x[:2048], self.y[:2048])
        ways: dict[str, Callable[[], tuple[Any, int]]] = {
            DENSE: self.train,
            "magnitude": lambda: self.train(PruningCallback(ramp)),
            "magnitude, each layer": lambda: self.train(PruningCallback(ramp, scope="layer")),
            "movement": lambda: self.train(PruningCallback(ramp, "movement")),
            "SNIP": lambda: self.train(PruningCallback(once, "snip", data=data)),
            "GraSP": lambda: self.train(PruningCallback(once, "grasp", data=data)),
            "IMP": lambda: self.train(
                PruningCallback(IterativeSchedule(sparsity, 1 - (1 - sparsity) ** (1 / rounds), begin=1 / self.epochs))
            ),
            "IMP, rewinding": lambda: self.ticket(sparsity),
            "2:4": lambda: self.train(PruningCallback(ramp, pattern="2:4")),
            "1x4 blocks": lambda: self.train(PruningCallback(ramp, pattern="1x4")),
            "TFMOT magnitude": lambda: self.tfmot(sparsity),
        }
        model, epochs = ways[method]()
        x, y = self.test
        accuracy = float(np.mean(np.argmax(model.predict(x, batch_size=1000, verbose=0), axis=1) == y))
        kernels = [np.asarray(v) for v in model.trainable_variables if "kernel" in getattr(v, "path", v.name)]
        zeros = sum(int(np.count_nonzero(k == 0)) for k in kernels) / sum(k.size for k in kernels)
        return {"accuracy": accuracy, "zeros": zeros, "epochs": epochs}


def plan() -> list[tuple[str, float]]:
    """All trainings of a seed."""
    return [(DENSE, 0.0)] + [
        (method, sparsity)
        for method in METHODS
        for sparsity in SPARSITIES
        if sparsity in ONLY_AT.get(method, SPARSITIES)
    ]


def work(arguments: argparse.Namespace, seed: int) -> None:
    """All trainings of one seed that have no result yet, one file each."""
    from edgeprune.atomic import write_json
    from edgeprune.quiet import silence

    os.environ["TF_USE_LEGACY_KERAS"] = "1"  # TFMOT reads it; Keras 3 is imported by its own name
    silence()
    trainer = Trainer(arguments.limit, arguments.epochs, seed)
    for method, sparsity in plan():
        path = result_path(arguments, seed, method, sparsity)
        if not path.exists():
            found = trainer.run(method, sparsity)
            print(f"seed {seed}: {method} {sparsity:.0%} {found['accuracy']:.2%}", file=sys.stderr)
            write_json(path, found)


def result_path(arguments: argparse.Namespace, seed: int, method: str, sparsity: float) -> Path:
    """Where one training's result lies."""
    name = "".join(c if c.isalnum() else "-" for c in method)
    return arguments.output / f"{arguments.limit}-{arguments.epochs}" / f"seed-{seed}" / f"{name}-{sparsity}.json"


def table(arguments: argparse.Namespace, seeds: list[int]) -> list[dict[str, Any]]:
    """Print the table; one record per method and sparsity."""

    def read(seed: int, method: str, sparsity: float) -> dict[str, float]:
        return json.loads(result_path(arguments, seed, method, sparsity).read_text())

    dense = [read(seed, DENSE, 0.0)["accuracy"] for seed in seeds]
    print(f"dense: {np.mean(dense):.2%} ({', '.join(f'{a:.2%}' for a in dense)})")
    print("change in points, mean of the seeds (single seeds)\n")
    print("| method | epochs | " + " | ".join(f"{s:.0%}" for s in SPARSITIES) + " |")
    print("|---|---|" + "---|" * len(SPARSITIES))
    records = []
    for method in METHODS:
        cells, epochs = [], 0
        for sparsity in SPARSITIES:
            if (method, sparsity) not in plan():
                cells.append("")
                continue
            found = [read(seed, method, sparsity) for seed in seeds]
            change = [100 * (f["accuracy"] - d) for f, d in zip(found, dense, strict=True)]
            epochs = int(found[0]["epochs"])
            zeros = float(np.mean([f["zeros"] for f in found]))
            records.append({"method": method, "sparsity": sparsity, "zeros": zeros, "change": change, "epochs": epochs})
            cells.append(f"{np.mean(change):+.2f} ({', '.join(f'{c:+.1f}' for c in change)})")
        print(f"| {method} | {epochs} | " + " | ".join(cells) + " |")
    return records


def main() -> None:
    """Train in one process a seed, then print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--limit", type=int, default=60000, help="training images")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2, help="seeds trained at the same time")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for results")
    parser.add_argument("--json", type=Path, help="file for all numbers")
    parser.add_argument("--worker-seed", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker_seed is not None:
        work(arguments, arguments.worker_seed)
        return
    seeds = list(range(arguments.seeds))

    def worker(seed: int) -> None:
        subprocess.run([sys.executable, *sys.argv, "--worker-seed", str(seed)], check=True)

    with ThreadPoolExecutor(arguments.workers) as pool:
        list(pool.map(worker, seeds))
    records = table(arguments, seeds)
    if arguments.json:
        from edgeprune.atomic import write_json

        write_json(arguments.json, {"limit": arguments.limit, "epochs": arguments.epochs, "rows": records})


if __name__ == "__main__":
    main()
