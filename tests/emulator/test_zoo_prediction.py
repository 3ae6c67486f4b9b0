"""Stock backbones of keras.applications, pruned and stored sparsely: the prediction against an emulated Pi 4."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeprune.boards.setup import setup_board
from edgeprune.device.instructions import count_instructions
from edgeprune.records.instructions import InstructionCounts
from edgeprune.tflite.flatbuffer import read_model
from edgeprune.tflite.sparse_inference.predict import predict

pytestmark = pytest.mark.emulator

SIZE = 64
BACKBONES = ("MobileNet", "MobileNetV2", "MobileNetV3Small", "EfficientNetB0")


@pytest.fixture(scope="module")
def board(board_cache: str) -> str:
    """The cache folder in which rpi4 is set up."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", board_cache)
        setup_board("rpi4")
    return board_cache


def symmetric(model: Any) -> Any:
    """The model with paddings of stride-2 layers made symmetric: (0, 1) becomes (1, 1), SAME in the stem pads by 1."""
    import keras
    from keras import layers

    def copy(layer: Any) -> Any:
        config = layer.get_config()
        if isinstance(layer, layers.ZeroPadding2D):
            amount = max(max(pair) for pair in layer.padding)
            return layers.ZeroPadding2D(amount, name=layer.name)
        if type(layer) is layers.Conv2D and layer.strides == (2, 2) and layer.padding == "same":
            stem = layers.Conv2D.from_config({**config, "padding": "valid"})
            return keras.Sequential([layers.ZeroPadding2D(1), stem], name=layer.name)
        return type(layer).from_config(config)

    return keras.models.clone_model(model, clone_function=copy)


def sparse_file(model: Any) -> bytes:
    import keras
    import tensorflow as tf

    generator = np.random.default_rng(0)
    for layer in model._flatten_layers():
        if type(layer) is keras.layers.Conv2D and layer.kernel_size == (1, 1):
            kernel, *bias = layer.get_weights()
            layer.set_weights([kernel * (generator.random(kernel.shape) < 0.1), *bias])
    fixed = keras.Input((SIZE, SIZE, 3), batch_size=1)
    converter = tf.lite.TFLiteConverter.from_keras_model(keras.Model(fixed, model(fixed)))
    converter.optimizations = [tf.lite.Optimize.EXPERIMENTAL_SPARSITY]
    return converter.convert()


def test_backbones(board: str, own_cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import keras

    monkeypatch.setenv("XDG_CACHE_HOME", board)
    paths = []
    for name in BACKBONES:
        stock = getattr(keras.applications, name)(input_shape=(SIZE, SIZE, 3), weights=None, classes=10)
        for what, model in (("stock", stock), ("symmetric", symmetric(stock))):
            paths.append(tmp_path / f"{name}-{what}.tflite")
            paths[-1].write_bytes(sparse_file(model))
    ran = set()
    for path, counts in zip(paths, count_instructions(paths, device="emulator:rpi4"), strict=True):
        verdict = predict(read_model(path), "ai-edge-litert", "2.3.0", ("neon",)).verdict
        if not isinstance(counts, InstructionCounts):
            assert verdict == "broken", (path.name, verdict, counts)
            continue
        engaged = any("_spmm_" in kernel for kernel in counts.by_kernel)
        assert engaged == (verdict in ("sparse", "partly", "broken")), (path.name, verdict, counts.by_kernel)
        ran.add(engaged)
    assert ran == {True, False}
