"""The temperature of GraSP: probabilities and logits give the same."""

from __future__ import annotations

import numpy as np
import pytest

from edgeprune.sparsity.criteria.grasp import Grasp

pytestmark = pytest.mark.keras

X = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
KERNEL = np.random.default_rng(1).normal(size=(3, 4)).astype(np.float32)
CLASSES = np.arange(12) % 4


def scores(evidence_of, loss, y, *, activation=None, units=4, temperature=200.0):
    import keras

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(units, activation=activation, use_bias=False)])
    model.set_weights([KERNEL[:, :units]])
    model.compile("sgd", loss)
    return Grasp(temperature=temperature).bind(evidence_of(model, (X, y))).scores()[0]


def softmax_scores(temperature: float) -> np.ndarray:
    """w * (H g) of the crossentropy of softmax(x W / T): (p - onehot) / T is the slope by the logits; H g is the change
    of the gradient along g, by central differences in float64."""
    x, onehot = X.astype(np.float64), np.eye(4)[CLASSES]

    def gradient(kernel):
        logits = x @ kernel / temperature
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        return x.T @ (p / p.sum(axis=1, keepdims=True) - onehot) / temperature / len(x)

    kernel = KERNEL.astype(np.float64)
    along = gradient(kernel)
    step = 1e-3 / np.abs(along).max()
    return kernel * (gradient(kernel + step * along) - gradient(kernel - step * along)) / (2 * step)


@pytest.mark.parametrize("temperature", [1.0, 5.0, 200.0])
def test_logits_probabilities_and_labels_of_all_kinds(temperature, evidence_of):
    import keras

    expected = softmax_scores(temperature)
    onehot = np.eye(4)[CLASSES]
    options = {"temperature": temperature}
    for found in (
        scores(evidence_of, keras.losses.SparseCategoricalCrossentropy(from_logits=True), CLASSES, **options),
        scores(evidence_of, "sparse_categorical_crossentropy", CLASSES, activation="softmax", **options),
        scores(evidence_of, keras.losses.CategoricalCrossentropy(), onehot, activation="softmax", **options),
    ):
        np.testing.assert_allclose(found, expected, rtol=5e-3, atol=2e-3 * np.abs(expected).max())


def test_the_temperature_can_change_the_order():
    assert not np.array_equal(np.argsort(softmax_scores(1.0), axis=None), np.argsort(softmax_scores(200.0), axis=None))


def test_sigmoid_outputs(evidence_of):
    """Probabilities and logits of a sigmoid agree, and the temperature is felt."""
    import keras

    y = (CLASSES % 2)[:, None]
    logits = keras.losses.BinaryCrossentropy(from_logits=True)
    from_logits = scores(evidence_of, logits, y, units=1)
    probabilities = scores(evidence_of, "binary_crossentropy", y, activation="sigmoid", units=1)
    np.testing.assert_allclose(probabilities, from_logits, rtol=5e-3)
    assert np.abs(scores(evidence_of, logits, y, units=1, temperature=1.0)).max() > 100 * np.abs(from_logits).max()


def test_a_loss_of_the_models_own_has_no_temperature(evidence_of):
    """compute_loss goes past the compiled crossentropy."""
    import keras

    class Own(keras.Sequential):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return keras.ops.mean(y_pred**2)

    model = Own([keras.Input((3,)), keras.layers.Dense(4, use_bias=False)])
    model.compile("sgd", "sparse_categorical_crossentropy")
    cold, hot = (Grasp(temperature=t).bind(evidence_of(model, (X, CLASSES))).scores()[0] for t in (1.0, 200.0))
    np.testing.assert_array_equal(cold, hot)
    assert np.abs(cold).max() > 0


def test_other_losses_have_no_temperature(evidence_of):
    y = np.eye(4)[CLASSES]
    cold, hot = (scores(evidence_of, "mse", y, activation="softmax", temperature=t) for t in (1.0, 200.0))
    np.testing.assert_array_equal(cold, hot)
