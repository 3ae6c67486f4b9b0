"""`edgeprune.build` as a Python user calls it, with a model and arrays."""

from __future__ import annotations

import logging

import numpy as np
import pytest

import edgeprune as ep

pytestmark = pytest.mark.keras


@pytest.fixture(scope="module")
def model():
    import keras

    layers = keras.layers
    inputs = keras.Input((8, 8, 3))
    features = layers.Conv2D(16, 3, padding="same", activation="relu")(inputs)
    again = layers.Conv2D(16, 3, padding="same")(features)
    pooled = layers.GlobalAveragePooling2D()(layers.Add()([features, again]))
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(pooled))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@pytest.fixture
def arrays():
    return np.random.default_rng(0).random((60, 8, 8, 3), dtype=np.float32), np.arange(60) % 3


def test_the_result_and_the_users_model_unchanged(model, arrays, tmp_path, monkeypatch):
    monkeypatch.setattr("edgeprune.device.bench.QUICK_ROUND_SECS", 0.01)
    before = [weight.copy() for weight in model.get_weights()]
    level = logging.getLogger("tensorflow").level
    budget = ep.Budget(size_kb=6, max_accuracy_drop=1)
    result = ep.build(model, "rpi4", train=arrays, budget=budget, output=tmp_path / "out")
    assert result.report.met
    assert result.tflite.stat().st_size == result.report.result.size_bytes <= 6000
    smaller = result.load_model()
    assert smaller.compiled
    assert smaller.count_params() < model.count_params()
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert type(model.optimizer).__name__ == "Adam"
    assert logging.getLogger("tensorflow").level == level


@pytest.mark.parametrize(
    ("name", "value"), [("model", None), ("target", 4), ("budget", {"size_kb": 7}), ("output", None), ("train", None)]
)
def test_an_argument_of_the_wrong_type_is_named(model, arrays, tmp_path, name, value):
    given = {"model": model, "target": "rpi4", "train": arrays, "output": tmp_path} | {name: value}
    with pytest.raises(ep.InputError, match="labelled data" if name == "train" else f"{name} must be"):
        ep.build(given.pop("model"), given.pop("target"), **given)
