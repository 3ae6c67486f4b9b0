"""A sparse build lays the exported graph out for sparse kernels, and says by the file whether they will run."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

import edgeprune as ep
from edgeprune.export.convert import convert
from edgeprune.export.passes.apply import apply_passes
from edgeprune.tflite.lint import lint

pytestmark = pytest.mark.keras


@pytest.fixture(autouse=True)
def _short_benchmark(monkeypatch):
    monkeypatch.setattr("edgeprune.device.bench.QUICK_ROUND_SECS", 0.01)


@pytest.fixture(scope="module")
def mobile():
    """A stock MobileNet in small, with TensorFlow's uneven padding at stride 2: (16, 16, 3) -> 3 classes."""
    import keras

    keras.utils.set_random_seed(3)
    layers = keras.layers
    x = image = keras.Input((16, 16, 3))
    x = layers.ReLU(6.0)(layers.BatchNormalization()(layers.Conv2D(16, 3, 2, "same", use_bias=False)(x)))
    for channels, stride in ((32, 1), (64, 2)):
        x = layers.DepthwiseConv2D(3, stride, "same", use_bias=False)(x)
        x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
        x = layers.ReLU(6.0)(layers.BatchNormalization()(layers.Conv2D(channels, 1, use_bias=False)(x)))
    model = keras.Model(image, layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling2D()(x)))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


OPTIONS = ep.Options(strategy="sparse", sparsity=0.9, epochs=1, rounds=1, quantize="float16", allow_dense_kernels=True)


def build(model, target, folder, options=OPTIONS):
    y = np.arange(96) % 3
    x = np.random.default_rng(0).normal(0, 0.5, (96, 16, 16, 3)).astype(np.float32)
    x[np.arange(96), :, :, y] += 1
    budget = ep.Budget(size_ratio=1.0, max_accuracy_drop=1)
    return ep.build(model, target, train=(x, y), budget=budget, options=options, output=folder)


def test_sparse_kernels_run_on_a_board(mobile, tmp_path):
    result = build(mobile, "rpi4", tmp_path)
    assert lint(result.tflite, ep.load_target("rpi4")).sparse_inference.verdict == "sparse"
    found = json.loads((tmp_path / "report.json").read_text())["sparse_inference"]
    counts = {"instructions_dense": None, "instructions_sparse": None}
    assert found == {"engaged": True, "how_known": "predicted", "reason": ""} | counts
    assert any("runs sparse kernels (predicted from the file)" in note for note in result.report.notes)
    assert result.report.parity.passed


def test_a_desktop_cpu_runs_none(mobile, tmp_path):
    result = build(mobile, "host", tmp_path)
    assert result.report.sparse_inference is not None
    assert not result.report.sparse_inference.engaged
    assert "AVX" in result.report.sparse_inference.reason
    assert any("no speed-up from them is claimed" in note for note in result.report.notes)


def test_a_layout_that_the_board_would_compute_wrongly_is_not_shipped(tmp_path):
    """A 3x3 convolution behind sparse 1x1 ones: XNNPACK would switch layouts in half of the graph and mix them up."""
    import keras

    keras.utils.set_random_seed(3)
    layers = keras.layers
    x = image = keras.Input((16, 16, 3))
    x = layers.Conv2D(16, 3, 2, "same", activation="relu")(x)
    x = layers.Conv2D(64, 1, activation="relu")(x)
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(x)
    x = layers.Conv2D(64, 1, activation="relu")(x)
    model = keras.Model(image, layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling2D()(x)))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    rpi4 = ep.load_target("rpi4")
    laid_out, _ = apply_passes(_zeroed(model), finetuned=False)
    (tmp_path / "broken.tflite").write_bytes(convert(laid_out, "float16", sparse=True))
    assert not lint(tmp_path / "broken.tflite", rpi4).passed  # what the build has to avoid
    result = build(model, "rpi4", tmp_path / "build")
    assert lint(result.tflite, rpi4).passed
    assert result.report.result.size_bytes < result.report.baseline.size_bytes
    strict = replace(OPTIONS, allow_dense_kernels=False)
    with pytest.raises(ep.ValidationError, match="would run no sparse kernels on this model: .*CONV_2D"):
        build(model, "rpi4", tmp_path / "strict", strict)


def _zeroed(model):
    import keras

    copy = keras.models.clone_model(model)
    for new, old in zip(copy.variables, model.variables, strict=True):
        value = np.asarray(old)
        new.assign(value if value.ndim < 4 else value * (np.random.default_rng(0).random(value.shape) < 0.1))
    return copy


def test_a_structured_build_says_nothing_of_sparse_kernels(mobile, tmp_path):
    y = np.arange(96) % 3
    x = np.random.default_rng(0).normal(0, 0.5, (96, 16, 16, 3)).astype(np.float32)
    budget = ep.Budget(size_ratio=1.0, max_accuracy_drop=1)
    options = ep.Options(epochs=1, rounds=1, quantize="none")
    report = ep.build(mobile, "rpi4", train=(x, y), budget=budget, options=options, output=tmp_path).report
    assert report.sparse_inference is None
