"""SNIP on models whose gradients are known."""

from __future__ import annotations

import numpy as np
import pytest

from edgeprune.errors import InputError
from edgeprune.sparsity.criteria.snip import Snip

pytestmark = pytest.mark.keras


def test_by_hand(linear_model, samples, evidence_of):
    """Predictions (1, -2), so the gradient 2/n * X^T r is (1, 1 - 4); |w * g| = (2, 3)."""
    (found,) = Snip().bind(evidence_of(linear_model, samples)).scores()
    np.testing.assert_allclose(found, [[0.4], [0.6]], rtol=1e-6)
    assert found.dtype == np.float32


@pytest.mark.parametrize("batch_size", [1, 2, 3, 32])
def test_the_loss_is_the_mean_over_samples_however_they_are_batched(batch_size, linear_model, evidence_of):
    """Gradients of the three samples: 2 r x with r = 1, -2, 3: (2, 2), (0, -8), (12, 6) in sum (14, 0)."""
    x = np.array([[1.0, 1.0], [0.0, 2.0], [2.0, 1.0]], dtype=np.float32)
    data = (x, np.zeros((3, 1), dtype=np.float32))
    (found,) = Snip().bind(evidence_of(linear_model, data, batch_size=batch_size)).scores()
    np.testing.assert_allclose(found, [[1.0], [0.0]], atol=1e-6)


def test_sample_weights_are_the_users(linear_model, samples, evidence_of):
    """With the first sample left out only x1 of the second counts."""
    data = (*samples, np.array([0.0, 1.0]))
    (found,) = Snip().bind(evidence_of(linear_model, data)).scores()
    np.testing.assert_allclose(found, [[0.0], [1.0]], atol=1e-7)


def test_opposite_gradients_cancel(evidence_of):
    """The mean comes before the absolute value; scores of nothing but zeros stay zeros."""
    import keras

    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.set_weights([np.array([[1.0]])])
    model.compile("sgd", "mse")
    data = (np.array([[1.0], [1.0]]), np.array([[0.0], [2.0]]))
    assert Snip().bind(evidence_of(model, data)).scores()[0].tolist() == [[0.0]]


def test_batchnorm_uses_the_statistics_of_the_batch(evidence_of):
    """Behind a normalization by the batch the scale of a kernel doesn't matter: it has no gradient. With the moving
    statistics of a fresh model (mean 0, variance 1) it would have most of it."""
    import keras

    model = keras.Sequential(
        [
            keras.Input((1,)),
            keras.layers.Dense(1, use_bias=False),
            keras.layers.BatchNormalization(epsilon=1e-9),
            keras.layers.Dense(1, use_bias=False),
        ]
    )
    model.get_layer(index=0).set_weights([np.array([[2.0]])])
    model.get_layer(index=-1).set_weights([np.array([[1.0]])])
    model.compile("sgd", "mse")
    data = (np.array([[-1.0], [1.0], [3.0], [-3.0]]), np.zeros((4, 1)))
    before, after = Snip().bind(evidence_of(model, data)).scores()
    assert before[0, 0] < 1e-4
    assert after[0, 0] > 0.9999


def test_a_users_own_loss_is_the_loss(evidence_of):
    """The mean prediction: its gradient is the mean input, (1/2, 3/2), so |w * g| = (1, 3/2)."""
    import keras

    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(1, use_bias=False)

        def call(self, x):
            return self.dense(x)

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
            return keras.ops.mean(y_pred)

    model = Own()
    model(np.zeros((1, 2)))
    model.set_weights([np.array([[2.0], [-1.0]])])
    model.compile("sgd")
    x = np.array([[1.0, 1.0], [0.0, 2.0]], dtype=np.float32)
    (found,) = Snip().bind(evidence_of(model, (x,))).scores()
    np.testing.assert_allclose(found, [[0.4], [0.6]], rtol=1e-6)


def test_a_model_that_runs_eagerly(samples, evidence_of):
    """run_eagerly is for layers that can't be compiled, or are being debugged."""
    import keras
    import tensorflow as tf

    eager = []

    class Watched(keras.layers.Layer):
        def call(self, x):
            eager.append(tf.executing_eagerly())
            return x

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False), Watched()])
    model.set_weights([np.array([[2.0], [-1.0]])])
    model.compile("sgd", "mse", run_eagerly=True)
    (found,) = Snip().bind(evidence_of(model, samples)).scores()
    np.testing.assert_allclose(found, [[0.4], [0.6]], rtol=1e-6)
    assert eager[-1]


def test_weights_that_the_loss_does_not_reach_score_zero(samples, evidence_of):
    import keras

    inputs = keras.Input((2,))
    used = keras.layers.Dense(1, use_bias=False)(inputs)
    unused = keras.layers.Dense(1, use_bias=False, name="unused")(inputs)
    model = keras.Model(inputs, {"a": used, "b": unused})
    model.compile("sgd", loss={"a": "mse"})
    first, second = Snip().bind(evidence_of(model, (samples[0], {"a": samples[1]}))).scores()
    assert first.sum() == pytest.approx(1.0)
    assert second.tolist() == [[0.0], [0.0]]


def test_gradients_that_are_not_finite_are_refused(linear_model, samples, evidence_of):
    x = samples[0].copy()
    x[0, 0] = np.inf
    with pytest.raises(InputError, match='criterion "snip": the gradients of the loss are not finite'):
        Snip().bind(evidence_of(linear_model, (x, samples[1])))
