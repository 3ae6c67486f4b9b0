"""The loss of a model as one scalar."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from edgeprune.pipeline.losses import scalar_loss

pytestmark = pytest.mark.keras


def test_a_sequential_model_fresh_from_its_file(tmp_path):
    """Keras defines `Sequential.output` only once the model has been called, which loading does not do."""
    import keras

    keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)]).save(tmp_path / "m.keras")
    model = keras.models.load_model(tmp_path / "m.keras")
    loss = scalar_loss(model, SimpleNamespace(loss="mse", loss_weights=None))
    # ((1 - 0)^2 + (3 - 0)^2) / 2
    assert float(loss(np.zeros((1, 2), np.float32), np.array([[1.0, 3.0]], np.float32))) == pytest.approx(5.0)


def test_outputs_by_name_and_their_weights():
    import keras

    inputs = keras.Input((1,))
    outputs = {name: keras.layers.Dense(1, name=name)(inputs) for name in ("a", "b")}
    model = keras.Model(inputs, outputs)
    loss = scalar_loss(model, SimpleNamespace(loss=["mse", "mae"], loss_weights=[1.0, 10.0]))
    zero = np.zeros((1, 1), np.float32)
    value = float(loss((zero, zero), {"a": zero + 3, "b": zero + 2}))
    assert math.isclose(value, 3.0**2 + 10 * 2.0, rel_tol=1e-6)
