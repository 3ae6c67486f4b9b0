"""GraSP against closed forms and finite differences."""

from __future__ import annotations

import numpy as np
import pytest

from edgeprune.errors import InputError
from edgeprune.sparsity.criteria.grasp import Grasp

pytestmark = pytest.mark.keras


def test_by_hand(linear_model, samples, evidence_of):
    """Mean squared error: g = (1, -3), see SNIP's test; H = 2/n X^T X = [[1, 1], [1, 5]], so H g = (-2, -14) and
    w * H g = (-4, 14). No temperature: this is no classifier."""
    (found,) = Grasp().bind(evidence_of(linear_model, samples)).scores()
    np.testing.assert_allclose(found, [[-4.0], [14.0]], rtol=1e-5)
    assert found.dtype == np.float32


def test_the_sign_is_that_of_the_gradient_flow(linear_model, samples, evidence_of):
    """Shrinking weight 0 a little, whose score is negative, raises |g|^2; shrinking weight 1 lowers it."""
    x, y = samples

    def flow(weight):
        return float(((x.T @ (x @ weight - y)) ** 2).sum())

    (score,) = Grasp().bind(evidence_of(linear_model, samples)).scores()
    weight = linear_model.get_weights()[0]
    for index in (0, 1):
        smaller = weight.copy()
        smaller[index] *= 0.99
        assert np.sign(flow(weight) - flow(smaller)) == np.sign(score[index, 0])


def test_gradient_and_hessian_are_those_of_all_batches(linear_model, evidence_of):
    """Not the mean of each batch's own H g: r = (1, -2, 3) gives g = 2/3 (7, 0), X^T X = [[5, 3], [3, 6]],
    H g = 4/9 (35, 21) and w * H g = 4/9 (70, -21)."""
    x = np.array([[1.0, 1.0], [0.0, 2.0], [2.0, 1.0]], dtype=np.float32)
    data = (x, np.zeros((3, 1), dtype=np.float32))
    for batch_size in (1, 2, 3):
        (found,) = Grasp().bind(evidence_of(linear_model, data, batch_size=batch_size)).scores()
        np.testing.assert_allclose(found, [[280 / 9], [-84 / 9]], rtol=1e-5)


def tanh_network(policy: str = "float32"):
    """tanh(x A) B, mean squared error."""
    import keras

    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(4, use_bias=False, activation="tanh", dtype=policy),
            keras.layers.Dense(2, use_bias=False, dtype=policy),
        ]
    )
    model.compile("sgd", "mse")
    return model


def network_gradient(first, second, x, y):
    hidden = np.tanh(x @ first)
    slope = 2 * (hidden @ second - y) / y.size
    return x.T @ (slope @ second.T * (1 - hidden**2)), hidden.T @ slope


def network_case(policy: str = "float32"):
    generator = np.random.default_rng(0)
    model = tanh_network(policy)
    weights = [generator.normal(size=shape) for shape in ((3, 4), (4, 2))]
    model.set_weights(weights)
    data = generator.normal(size=(10, 3)), generator.normal(size=(10, 2))
    return model, weights, data


def finite_differences(weights, data) -> list[np.ndarray]:
    """w * (H g), where H g is the change of the gradient along g."""
    step = 1e-5
    own = network_gradient(*weights, *data)
    ahead = network_gradient(*(w + step * g for w, g in zip(weights, own, strict=True)), *data)
    behind = network_gradient(*(w - step * g for w, g in zip(weights, own, strict=True)), *data)
    return [w * (a - b) / (2 * step) for w, a, b in zip(weights, ahead, behind, strict=True)]


def test_finite_differences_of_the_gradient_along_itself(evidence_of):
    model, weights, data = network_case()
    found = Grasp().bind(evidence_of(model, data, batch_size=4)).scores()
    for score, expected in zip(found, finite_differences(weights, data), strict=True):
        np.testing.assert_allclose(score, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_half_precision_keeps_the_scores(evidence_of):
    """float16 has 11 bits: a few per mille of the largest score."""
    model, weights, data = network_case("mixed_float16")
    found = Grasp().bind(evidence_of(model, data)).scores()
    for score, expected in zip(found, finite_differences(weights, data), strict=True):
        np.testing.assert_allclose(score, expected, atol=0.02 * np.abs(expected).max())


def test_layers_of_all_kinds_have_second_gradients(evidence_of):
    import keras

    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((12,)),
            layers.Embedding(5, 4),
            layers.Reshape((4, 4, 3)),
            layers.SeparableConv2D(4, 3, padding="same"),
            layers.BatchNormalization(),
            layers.Activation("swish"),
            layers.MaxPooling2D(),
            layers.Reshape((4, 4)),
            layers.GRU(3, return_sequences=True),
            layers.LayerNormalization(),
            layers.GlobalAveragePooling1D(),
            layers.Dense(2, activation="softmax"),
        ]
    )
    model.compile("sgd", "sparse_categorical_crossentropy")
    data = np.arange(96).reshape(8, 12) % 5, np.arange(8) % 2
    scores = Grasp(temperature=1.0).bind(evidence_of(model, data)).scores()
    assert all(np.abs(score).max() > 0 for score in scores)


def test_an_operation_without_a_second_gradient_is_named(evidence_of):
    import keras
    import tensorflow as tf

    class Dilate(keras.layers.Layer):
        def call(self, x):
            window = tf.zeros((2, 2, 1))
            return tf.nn.dilation2d(x, window, (1, 1, 1, 1), "SAME", "NHWC", (1, 1, 1, 1))

    model = keras.Sequential(
        [keras.Input((4, 4, 1)), keras.layers.Conv2D(1, 1, activation="tanh"), Dilate(), keras.layers.Flatten()]
    )
    model.compile("sgd", "mse")
    data = np.ones((2, 4, 4, 1)), np.zeros((2, 16))
    with pytest.raises(InputError, match='"grasp" needs a gradient that TensorFlow lacks .*Dilation2D') as found:
        Grasp().bind(evidence_of(model, data))
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("inf")])
def test_bad_temperatures(temperature):
    with pytest.raises(InputError, match="temperature must be above 0"):
        Grasp(temperature=temperature)
