"""Compare allocations on Fashion-MNIST: accuracy at lower predicted latency, same fine-tuning, several seeds.

For every seed the network of examples/fashion_mnist is trained once; every allocation then builds from it at every
speed-up, in float32, so that only channel removal counts. Prints one table with the mean accuracy change in points
and the single seeds; --json writes all numbers. Interrupted, the same command continues.

    python tools/compare_allocations.py --limit 20000 --seeds 3 -o /tmp/compare
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "fashion_mnist"
# (allocation, criterion): the field's plain baseline first
METHODS = (
    ("uniform", "l1"),
    ("global", "taylor"),
    ("greedy", "taylor"),
    ("knapsack", "taylor"),
    ("sensitivity", "taylor"),
)


def dense_model(folder: Path, seed: int, limit: int, epochs: int) -> Path:
    """Train the example's network once; returns the .keras file."""
    model = folder / f"dense-{seed}" / "model.keras"
    if not model.exists():
        command = [sys.executable, str(EXAMPLE / "train.py"), "--seed", str(seed), "--limit", str(limit)]
        subprocess.run([*command, "--epochs", str(epochs), "-o", str(model.parent)], check=True, stdout=sys.stderr)
    return model


def build(model: Path, data: tuple, folder: Path, speed_up: float, method: tuple[str, str], arguments) -> dict:
    """One build; returns baseline and result accuracy and predicted latencies."""
    import edgeprune as ep

    allocation, criterion = method
    report = folder / "report.json"
    if not report.exists():
        options = ep.Options(
            quantize="none",
            allocation=allocation,
            criterion=criterion,
            epochs=arguments.epochs,
            rounds=arguments.rounds,
            batch_size=128,
            seed=arguments.first_seed,
        )
        # Accuracy is what is compared, so it is no limit here.
        budget = ep.Budget(latency_ratio=1 / speed_up, max_accuracy_drop=1.0)
        ep.build(
            str(model),
            arguments.target,
            train=data[0],
            validation=data[1],
            budget=budget,
            output=folder,
            options=options,
        )
    document = json.loads(report.read_text())
    before, after = document["baseline"], document["result"]
    return {
        "baseline": before["metric"]["value"],
        "accuracy": after["metric"]["value"],
        "latency_ratio": after["latency_ms"]["value"] / before["latency_ms"]["value"],
        "macs_ratio": after["macs"] / before["macs"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--limit", type=int, default=60000, help="training images")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--dense-epochs", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=2, help="of each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--speed-ups", type=float, nargs="+", default=[2.0, 4.0])
    parser.add_argument("--methods", nargs="+", default=[name for name, _ in METHODS], help="allocations to compare")
    parser.add_argument("--target", default="rpi4")
    parser.add_argument("--json", type=Path, help="write all numbers here")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for models and builds")
    arguments = parser.parse_args()

    sys.path.insert(0, str(EXAMPLE))
    from data import load

    data = load(None, arguments.limit)
    methods = [method for method in METHODS if method[0] in arguments.methods]
    rows = []
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
        model = dense_model(arguments.output, seed, arguments.limit, arguments.dense_epochs)
        for speed_up in arguments.speed_ups:
            for method in methods:
                folder = arguments.output / f"{seed}-{speed_up:g}x-{'-'.join(method)}"
                found = build(model, data, folder, speed_up, method, arguments)
                rows.append({"seed": seed, "speed_up": speed_up, "method": " ".join(method), **found})
                print(rows[-1], file=sys.stderr, flush=True)

    dense = dict.fromkeys((row["seed"], row["baseline"]) for row in rows)
    print(f"dense accuracy per seed: {', '.join(f'{100 * accuracy:.2f}' for _, accuracy in dense)}\n")
    print("| speed-up | method | points, mean | points, each seed | predicted latency | MACs |")
    print("|---|---|---|---|---|---|")
    for speed_up in arguments.speed_ups:
        for method in methods:
            own = [row for row in rows if row["speed_up"] == speed_up and row["method"] == " ".join(method)]
            points = [100 * (row["accuracy"] - row["baseline"]) for row in own]
            each = ", ".join(f"{value:+.2f}" for value in points)
            latency = np.mean([row["latency_ratio"] for row in own])
            macs = np.mean([row["macs_ratio"] for row in own])
            cells = (
                f"{speed_up:g}x",
                " ".join(method),
                f"{np.mean(points):+.2f}",
                each,
                f"{latency:.2f}x",
                f"{macs:.2f}x",
            )
            print("| " + " | ".join(cells) + " |")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
