"""Movement and Taylor: fed inside a compiled train step, held to a simulation in numpy."""

from __future__ import annotations

import numpy as np
import pytest

from edgeprune.errors import InputError
from edgeprune.sparsity.criteria.movement import Movement
from edgeprune.sparsity.criteria.taylor import Taylor

pytestmark = pytest.mark.keras

RATE = 0.1
START = np.array([[2.0], [-1.0]])
BATCHES = [
    (np.array([[1.0, 1.0], [0.0, 2.0]]), np.array([[0.0], [0.0]])),
    (np.array([[-1.0, 0.5], [2.0, 1.0]]), np.array([[1.0], [-1.0]])),
    (np.array([[0.0, 1.0], [1.0, -3.0]]), np.array([[0.5], [2.0]])),
]


def observed(scorer, model, jit: bool) -> np.ndarray:
    """The scores after three steps of gradient descent inside a compiled step."""
    import tensorflow as tf

    kernel = model.layers[0].kernel

    @tf.function(jit_compile=jit)
    def step(x, y):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((tf.matmul(x, kernel.value) - y) ** 2)
        gradient = tape.gradient(loss, kernel.value)
        scorer.observe(0, tf.convert_to_tensor(kernel.value), gradient)
        kernel.assign(kernel.value - RATE * gradient)

    for x, y in BATCHES:
        step(x.astype(np.float32), y.astype(np.float32))
    return scorer.scores()[0]


def simulated(update) -> np.ndarray:
    """The same in numpy: `update` gives the next score from (score, weight, gradient)."""
    weight, score = START.copy(), np.zeros_like(START)
    for x, y in BATCHES:
        gradient = 2 * x.T @ (x @ weight - y) / len(x)
        score = update(score, weight, gradient)
        weight = weight - RATE * gradient
    return score


def soft(score, weight, gradient):
    sigmoid = 1 / (1 + np.exp(-score))
    return score - weight * gradient - 0.5 * sigmoid * (1 - sigmoid)


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize(
    ("criterion", "update"),
    [
        (Movement(), lambda score, weight, gradient: score - weight * gradient),
        (Movement(mode="soft", penalty=0.5), soft),
        (Taylor(), lambda score, weight, gradient: 0.9 * score + 0.1 * np.abs(weight * gradient)),
        (Taylor(decay=0.0), lambda score, weight, gradient: np.abs(weight * gradient)),
    ],
)
def test_three_steps_of_gradient_descent(criterion, update, jit, linear_model, evidence_of):
    scorer = criterion.bind(evidence_of(linear_model))
    np.testing.assert_allclose(observed(scorer, linear_model, jit), simulated(update), rtol=1e-5)


def test_movement_by_hand(linear_model, evidence_of):
    """Descent moves both weights, 2 and -1, towards zero with gradients 1 and -3, and away with -1 and 3."""
    scorer = Movement().bind(evidence_of(linear_model))
    scorer.observe(0, START, np.array([[1.0], [-3.0]]))
    assert scorer.scores()[0].tolist() == [[-2.0], [-3.0]]
    scorer.observe(0, START, np.array([[-1.0], [3.0]]))
    scorer.observe(0, START, np.array([[-1.0], [3.0]]))
    assert scorer.scores()[0].tolist() == [[2.0], [3.0]]


@pytest.mark.parametrize("criterion", [Movement(), Movement(mode="soft", penalty=1.0), Taylor()])
def test_scores_are_zero_before_any_step(criterion, linear_model, evidence_of):
    assert criterion.bind(evidence_of(linear_model)).scores()[0].tolist() == [[0.0], [0.0]]


def test_half_precision_values_and_gradients_are_added_in_float32(linear_model, evidence_of):
    """2048 + 1 is 2048 in float16."""
    import tensorflow as tf

    scorer = Movement().bind(evidence_of(linear_model))
    one = tf.ones((2, 1), tf.float16)
    scorer.observe(0, -one, 2048 * one)
    scorer.observe(0, -one, one)
    assert scorer.scores()[0].tolist() == [[2049.0], [2049.0]]


def test_accumulators_have_the_weights_shapes_and_train_nothing(evidence_of):
    import keras

    model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Conv2D(2, 3), keras.layers.Dense(3)])
    scorer = Taylor().bind(evidence_of(model))
    assert [tuple(variable.shape) for variable in scorer.accumulators] == [(3, 3, 1, 2), (2, 3)]
    assert not any(variable.trainable for variable in scorer.accumulators)
    assert len(model.variables) == 4


def test_only_soft_movement_has_a_threshold(linear_model, evidence_of):
    evidence = evidence_of(linear_model)
    assert Movement().bind(evidence).threshold is None
    assert Movement(mode="soft").bind(evidence).threshold == 0.0
    assert Movement(mode="soft", threshold=-0.3).bind(evidence).threshold == -0.3
    assert Taylor().bind(evidence).threshold is None


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: Movement(mode="sof"), 'unknown mode "sof"; did you mean "soft"'),
        (lambda: Movement(threshold=0.5), 'add mode="soft"'),
        (lambda: Movement(penalty=0.5), 'add mode="soft"'),
        (lambda: Movement(mode="soft", penalty=-1.0), "penalty must be 0 or more, received -1.0"),
        (lambda: Movement(mode="soft", threshold=float("nan")), "threshold must be a finite number, received nan"),
        (lambda: Taylor(decay=1.0), "decay must be from 0 to below 1, received 1.0"),
    ],
)
def test_bad_options(build, words):
    with pytest.raises(InputError, match=words):
        build()
