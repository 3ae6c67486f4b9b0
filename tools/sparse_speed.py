"""Instructions of sparse models on an emulated board, for five models of keras.applications at 224x224.

    edgeprune boards setup rpi4
    python tools/sparse_speed.py                      # all five: ten minutes or so on two cores
    python tools/sparse_speed.py MobileNetV2 --zeros 0.8

Every 1x1 convolution and Dense kernel loses the share --zeros of its weights, least magnitude first. No training: speed
does not depend on the values. "stock" is exported as Keras gives it, "exact" after the layout passes that change no
output, "symmetric" after those that go with fine-tuning. Each is stored with float16 values and sparse encoding. Ratios
are of instructions per invoke to the stock model with all weights, float32, and of bytes to its file. "vs own" is to
the same rewritten model with all weights. "parity" is the largest difference between the exact model's outputs on the
board, in float32, and Keras's, relative to Keras's largest output.

Exits 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeprune.device.devices import open_device
from edgeprune.device.transport import RunRequest, Transport
from edgeprune.errors import EdgepruneError
from edgeprune.quiet import silence

# name -> instructions at 90 % zeros / dense instructions, at most, after the passes that go with fine-tuning
TARGETS = {
    "MobileNet": 0.30,
    "MobileNetV2": 0.40,
    "MobileNetV3Large": 0.44,
    "MobileNetV3Small": 0.56,
    "EfficientNetB0": 0.58,
}
# The same without fine-tuning; the other models have no target there.
EXACT_TARGETS = {"MobileNetV2": 0.45}
FILE_TARGET = 0.15
PARITY = 1e-5
_SAMPLES = 2


@dataclass(frozen=True)
class Row:
    """One model: instructions per invoke, bytes of the file, and the largest relative difference of outputs."""

    name: str
    dense: int
    stock: int
    exact: int
    symmetric: int
    symmetric_dense: int
    dense_bytes: int
    sparse_bytes: int
    parity: float

    def misses(self) -> Iterator[str]:
        """What is not reached, one line each."""
        for kind, found, limits in (("symmetric", self.symmetric, TARGETS), ("exact", self.exact, EXACT_TARGETS)):
            if self.name in limits and found > limits[self.name] * self.dense:
                yield f"{self.name} {kind}: {found / self.dense:.3f} of the instructions, target {limits[self.name]}"
        if self.sparse_bytes > FILE_TARGET * self.dense_bytes:
            yield f"{self.name}: {self.sparse_bytes / self.dense_bytes:.3f} of the file, target {FILE_TARGET}"
        if self.parity > PARITY:
            yield f"{self.name}: outputs differ by {self.parity:.1e}, target {PARITY}"


def measure(name: str, zeros: float, seed: int, board: Transport, folder: Path) -> Row:
    """Build, prune, rewrite, export and count one model."""
    from edgeprune.export.convert import convert
    from edgeprune.export.passes.apply import apply_passes

    model = random_model(name, seed)
    files = {"dense": convert(model, "none")}
    for_training, _ = apply_passes(model, finetuned=True)
    deployed, _ = apply_passes(for_training, finetuned=False)
    files["symmetric_dense"] = convert(deployed, "none")
    prune(model, zeros)
    prune(for_training, zeros)
    files["stock"] = convert(model, "float16", sparse=True)
    symmetric, _ = apply_passes(for_training, finetuned=False)
    files["symmetric"] = convert(symmetric, "float16", sparse=True)
    exact, _ = apply_passes(model, finetuned=False)
    files["exact"] = convert(exact, "float16", sparse=True)
    # the oracle of parity holds float32 values on both sides
    files["exact_float32"] = convert(exact, "none", sparse=True)
    paths = {kind: folder / f"{name}-{kind}.tflite" for kind in files}
    for kind, content in files.items():
        paths[kind].write_bytes(content)
    counted = [kind for kind in files if kind != "exact_float32"]
    found = board.run(RunRequest("count", tuple(paths[kind] for kind in counted))).counts
    instructions = {}
    for kind, count in zip(counted, found, strict=True):
        if isinstance(count, Exception):
            raise count
        instructions[kind] = count.instructions
    return Row(
        name=name,
        **instructions,
        dense_bytes=len(files["dense"]),
        sparse_bytes=len(files["exact"]),
        parity=parity(model, paths["exact_float32"], board, folder, seed),
    )


def random_model(name: str, seed: int) -> Any:
    """The model with random weights, norms with statistics as after training, and logits that differ."""
    import keras

    keras.utils.set_random_seed(seed)
    model = getattr(keras.applications, name)(weights=None, input_shape=(224, 224, 3), classifier_activation=None)
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            for variable in layer.weights:
                low, high = (0.5, 1.5) if variable.path.endswith(("gamma", "variance")) else (-0.3, 0.3)
                variable.assign(rng.uniform(low, high, variable.shape))
        if isinstance(layer, keras.layers.Normalization):
            layer.adapt_mean.assign([0.485, 0.456, 0.406])
            layer.adapt_variance.assign([0.229, 0.224, 0.225])
            layer.finalize_state()
    return model


def prune(model: Any, zeros: float) -> None:
    """Set the share `zeros` of each 1x1 and Dense kernel to zero, least magnitude first."""
    import keras

    for layer in model.layers:
        pointwise = type(layer) is keras.layers.Conv2D and layer.kernel_size == (1, 1)
        if pointwise or isinstance(layer, keras.layers.Dense):
            kernel = layer.get_weights()[0]
            gone = np.argsort(np.abs(kernel), axis=None)[: int(np.ceil(zeros * kernel.size))]
            kernel.reshape(-1)[gone] = 0
            layer.kernel.assign(kernel)


def parity(model: Any, path: Path, board: Transport, folder: Path, seed: int) -> float:
    """Largest difference between the board's outputs and Keras's, relative to Keras's largest output."""
    raw = any(type(layer).__name__ == "Rescaling" for layer in model.layers)
    given = np.random.default_rng(seed).uniform(0, 255 if raw else 1, (_SAMPLES, 224, 224, 3)).astype(np.float32)
    inputs, outputs = folder / "inputs.npz", folder / "outputs.npz"
    np.savez(inputs, input_0=given)
    board.run(RunRequest("outputs", (path,), inputs=inputs, outputs=outputs))
    with np.load(outputs, allow_pickle=False) as found:
        answered = found[found.files[0]]
    expected = np.asarray(model(given, training=False))
    return float(np.abs(answered.reshape(expected.shape) - expected).max() / np.abs(expected).max())


def main() -> int:
    """Measure and print; 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", help=f"of {', '.join(TARGETS)}; default all")
    parser.add_argument("--zeros", type=float, default=0.9, help="share of zeros; targets are judged at 0.9 only")
    parser.add_argument("--device", default="emulator:rpi4")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    unknown = set(arguments.models) - set(TARGETS)
    if unknown:
        parser.error(f"unknown model {', '.join(sorted(unknown))}; choose from {', '.join(TARGETS)}")
    silence()
    try:
        missed = table(arguments)
    except EdgepruneError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    if arguments.zeros != 0.9:
        return 0
    print("\n".join(missed) or "all targets are reached")
    return 1 if missed else 0


def table(arguments: argparse.Namespace) -> list[str]:
    """Measure and print one line per model; returns the targets that were missed."""
    print("instructions per invoke in millions; ratios to the stock model, dense float32")
    print(f"{'':17} {'dense':>6} {'stock':>14} {'exact':>14} {'symmetric':>14} {'vs own':>7} {'file':>6} {'parity':>8}")
    missed: list[str] = []
    with closing(open_device(arguments.device)) as board, tempfile.TemporaryDirectory() as folder:
        for name in arguments.models or TARGETS:
            row = measure(name, arguments.zeros, arguments.seed, board, Path(folder))
            cells = [
                f"{count / 1e6:7.1f} ({count / row.dense:.2f})".rjust(14)
                for count in (row.stock, row.exact, row.symmetric)
            ]
            print(
                f"{name:17} {row.dense / 1e6:6.1f} {' '.join(cells)} {row.symmetric / row.symmetric_dense:7.2f} "
                f"{row.sparse_bytes / row.dense_bytes:6.3f} {row.parity:8.1e}",
                flush=True,
            )
            missed += row.misses()
    return missed


if __name__ == "__main__":
    raise SystemExit(main())
