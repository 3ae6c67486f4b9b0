"""Networks that are no keras.applications backbones, pruned and rewritten: sparse kernels run, outputs are Keras's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeprune.boards.setup import setup_board
from edgeprune.device.instructions import count_instructions
from edgeprune.export.convert import convert
from edgeprune.export.passes.apply import apply_passes
from edgeprune.export.valid_padding import write_valid_padding
from edgeprune.records.instructions import InstructionCounts
from edgeprune.target import Runtime
from edgeprune.tflite.flatbuffer import read_model
from edgeprune.tflite.sparse_inference.predict import predict
from tests.emulator.test_prediction import alike, outputs, written

pytestmark = pytest.mark.emulator

RUNTIME = Runtime("ai-edge-litert", "2.3.0")
# name -> input size, stem (kernel, stride), head
NETWORKS = {
    "grey": ((32, 32, 1), (3, 2), "mean"),
    "four channels": ((32, 32, 4), (3, 2), "mean"),
    "stride 1": ((32, 32, 3), (3, 1), "mean"),
    "7x7": ((48, 48, 3), (7, 2), "mean"),
    "odd": ((33, 29, 3), (3, 2), "mean"),
    "odd inside": ((44, 44, 3), (3, 2), "mean"),
    "maximum": ((32, 32, 3), (3, 2), "maximum"),
    "maps": ((32, 32, 3), (3, 2), "maps"),
}


@pytest.fixture(scope="module")
def board(board_cache: str) -> str:
    """The cache folder in which rpi4 is set up."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", board_cache)
        setup_board("rpi4", RUNTIME)
    return board_cache


def network(size: tuple[int, int, int], stem: tuple[int, int], head: str) -> Any:
    """A stem, an inverted residual block with a gate of Dense layers and norms behind activations, 90 % zeros."""
    import keras

    layers = keras.layers
    image = keras.Input(size)
    x = layers.Conv2D(16, stem[0], strides=stem[1], padding="same", activation="relu")(image)
    y = layers.BatchNormalization()(layers.Conv2D(32, 1, activation="relu")(x))
    y = layers.DepthwiseConv2D(3, strides=2, padding="same", activation="relu")(y)
    gate = layers.Dense(8, activation="relu")(layers.GlobalAveragePooling2D()(y))
    gate = layers.Reshape((1, 1, 32))(layers.Dense(32, activation="hard_sigmoid")(gate))
    y = layers.Conv2D(24, 1)(layers.Multiply()([y, gate]))
    x = layers.Add()([y, layers.Conv2D(24, 1, strides=2)(x)])
    x = layers.DepthwiseConv2D(5, strides=2, padding="same", activation="swish")(layers.BatchNormalization()(x))
    x = layers.Conv2D(64, 1)(x)
    if head == "maps":
        x = layers.Conv2D(5, 1)(x)
    else:
        pooling = layers.GlobalMaxPooling2D() if head == "maximum" else layers.GlobalAveragePooling2D()
        x = layers.Dense(10)(pooling(x))
    model = keras.Model(image, x)
    random = np.random.default_rng(0)
    for layer in model.layers:
        weights = [
            random.normal(0, 2 / np.sqrt(value.size / value.shape[-1]), value.shape) for value in layer.get_weights()
        ]
        if isinstance(layer, layers.BatchNormalization):
            weights = [random.uniform(0.5, 1.5, value.shape) for value in weights]
        elif getattr(layer, "kernel_size", None) == (1, 1) or isinstance(layer, layers.Dense):
            weights[0] *= random.random(weights[0].shape) < 0.1
        layer.set_weights(weights)
    return model


def test_they_run_sparse_and_compute_the_same(
    board: str, own_cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", board)
    files, expected = {}, []
    for name, (size, stem, head) in NETWORKS.items():
        model = network(size, stem, head)
        rewritten, _ = apply_passes(model, finetuned=False)
        files[name] = write_valid_padding(convert(rewritten, "none", sparse=True))
        # outputs_on_board.py gives each model these
        given = np.random.default_rng(0).normal(size=(1, *size)).astype(np.float32)
        expected.append([np.asarray(model(given, training=False))])
    paths = written(tmp_path, files)
    counts = count_instructions(paths, device="emulator:rpi4")
    for path, count, found, wanted in zip(paths, counts, outputs(paths, RUNTIME), expected, strict=True):
        assert isinstance(count, InstructionCounts), (path.name, count)
        assert any("_spmm_" in kernel for kernel in count.by_kernel), path.name
        assert found is not None, path.name
        assert alike(found, wanted), path.name
        assert predict(read_model(path), RUNTIME.package, RUNTIME.version, ("neon",)).verdict == "sparse", path.name
