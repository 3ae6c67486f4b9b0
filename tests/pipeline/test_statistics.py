"""`reestimate_batchnorm` on numbers that numpy can give too."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import edgeprune
from edgeprune.errors import InputError

pytestmark = pytest.mark.keras


def test_statistics_are_those_of_the_data_and_nothing_else_changes() -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.BatchNormalization(), keras.layers.Dense(2)])
    x = np.random.default_rng(0).normal(2.0, 3.0, (64, 3)).astype("float32")
    before = [np.asarray(variable) for variable in model.trainable_variables]
    assert edgeprune.reestimate_batchnorm(model, (x, np.zeros(64, int)), batch_size=16) is model
    np.testing.assert_allclose(model.layers[0].moving_mean, x.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(model.layers[0].moving_variance, x.var(axis=0), rtol=1e-4)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.trainable_variables, strict=True))


def test_a_bad_count_is_named() -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    with pytest.raises(InputError, match="samples=0"):
        edgeprune.reestimate_batchnorm(model, (np.zeros((4, 3)), np.zeros(4)), samples=0)
