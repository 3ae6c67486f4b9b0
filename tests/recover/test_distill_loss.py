"""The distillation loss, worked out by hand, as `fit` reports it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.recover.distill_cases import CLASSES, DIVERGENCE, SPARSE, X, compiled, crossentropy, linear, loss_of

pytestmark = pytest.mark.keras


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize(("temperature", "weight"), [(1.0, 1.0), (2.0, 1.0), (2.0, 0.25), (5.0, 0.5)])
def test_two_classes_by_hand(temperature, weight, jit):
    """Student logits (0, 0); teacher logits (T ln 3, 0), softened to (3/4, 1/4). Own loss: ln 2 whatever the label."""
    student = compiled(linear(np.zeros((1, 2))), crossentropy(), jit_compile=jit)
    teacher = linear([[temperature * math.log(3), 0]])
    found = loss_of(student, [[1.0]], np.array([0]), teacher, temperature=temperature, weight=weight)
    assert found == pytest.approx((1 - weight) * math.log(2) + weight * temperature**2 * DIVERGENCE, rel=1e-5)


def test_a_sigmoid_is_two_classes_and_several_are_averaged():
    """Teacher logits 2 ln 3 and 0 at T = 2: the first output differs by the divergence, the second by nothing."""
    student = compiled(linear(np.zeros((1, 2)), "sigmoid"), "binary_crossentropy")
    found = loss_of(
        student, [[1.0]], np.ones((1, 2)), linear([[2 * math.log(3), 0]], "sigmoid"), temperature=2.0, weight=1.0
    )
    assert found == pytest.approx(4 * DIVERGENCE / 2, rel=1e-5)


def test_regression_is_the_squared_error_to_the_teacher():
    student = compiled(linear([[1.0]]), "mae")
    assert loss_of(student, [[1.0]], np.array([[7.0]]), linear([[3.0]]), weight=0.5) == pytest.approx((6 + 4) / 2)


def test_kind_overrides_the_loss():
    """Logits behind an "mse": as classes the divergence, as values the squared error."""
    teacher = linear([[math.log(3), 0]])
    student = compiled(linear(np.zeros((1, 2))), "mse")
    given = {"x": [[1.0]], "y": np.zeros((1, 2)), "teacher": teacher, "temperature": 1.0, "weight": 1.0}
    assert loss_of(student, **given) == pytest.approx(math.log(3) ** 2 / 2)
    assert loss_of(student, kind="classification", **given) == pytest.approx(DIVERGENCE, rel=1e-5)
    softmax = compiled(linear(np.zeros((1, 2)), "softmax"), SPARSE)
    given |= {"y": np.array([0]), "teacher": linear([[math.log(3), 0]], "softmax")}
    assert loss_of(softmax, kind="regression", **given) == pytest.approx(0.25**2)


@pytest.mark.parametrize("behind", ["attached", "reshaped"])
def test_probabilities_give_what_their_logits_give(behind):
    """A softmax, also behind a layer that drops the logits Keras attaches to it, against the bare logits."""
    import keras

    rng = np.random.default_rng(1)
    kernel, dense = rng.normal(size=(4, 3)), rng.normal(size=(4, 3))

    def softmax(weights):
        model = linear(weights, "softmax")
        if behind == "attached":
            return model
        return keras.Model(model.input, keras.layers.Reshape((3,))(model.output))

    def trained(student, teacher):
        loss = crossentropy() if student is linear else SPARSE
        model = compiled(student(kernel), loss, optimizer=keras.optimizers.SGD(0.5))
        return loss_of(model, X, CLASSES, teacher(dense), weight=0.7), model.get_weights()[0]

    expected = trained(linear, linear)
    for student in (linear, softmax):
        for teacher in (linear, softmax):
            found = trained(student, teacher)
            assert found[0] == pytest.approx(expected[0], rel=1e-5)
            np.testing.assert_allclose(found[1], expected[1], atol=1e-5)


def test_outputs_are_added_up_by_their_loss_weights():
    """Distances 1 and 4; one without a loss of its own is left out."""
    import keras

    def model(*numbers):
        inputs = keras.Input((1,))
        layers = [
            keras.layers.Dense(1, name=name, use_bias=False, kernel_initializer=keras.initializers.Constant(number))
            for name, number in zip("abc", numbers, strict=True)
        ]
        return keras.Model(inputs, [layer(inputs) for layer in layers])

    one, teacher = np.ones((1, 1)), model(1.0, 2.0, 9.0)
    losses = {"a": "mse", "b": "mse", "c": "mse"}
    assert loss_of(compiled(model(0, 0, 9.0), losses), one, [one] * 3, teacher, weight=1.0) == pytest.approx(5.0)
    weighted = compiled(model(0, 0, 9.0), losses, loss_weights={"a": 1.0, "b": 0.5, "c": 1.0})
    assert loss_of(weighted, one, [one] * 3, teacher, weight=1.0) == pytest.approx(3.0)
    partly = compiled(model(0, 0, 0), ["mse", "mse", None])
    assert loss_of(partly, one, [one] * 3, teacher, weight=1.0) == pytest.approx(5.0)


def test_sample_weights_count_in_both_parts():
    """Distances 4 and 16, own losses 1 and 4, weights 1 and 0.5; Keras divides by the number of samples."""
    student = compiled(linear([[1.0]]), "mse")
    found = loss_of(
        student, [[1.0], [2.0]], np.array([[0.0], [4.0]]), linear([[3.0]]), np.array([1.0, 0.5]), weight=0.5
    )
    assert found == pytest.approx((0.5 * (1 + 0.5 * 4) + 0.5 * (4 + 0.5 * 16)) / 2)


def test_masked_steps_do_not_count():
    """Two steps; the second is 0 and masked, and the bias makes the models differ there by 100."""
    import keras

    def model(kernel, bias):
        inputs = keras.Input((2, 1))
        outputs = keras.layers.Dense(2, activation="softmax")(keras.layers.Masking()(inputs))
        made = keras.Model(inputs, outputs)
        made.set_weights([np.array(kernel), np.array(bias)])
        return made

    student = compiled(model([[0.0, 0.0]], [0.0, 0.0]), SPARSE)
    teacher = model([[math.log(3) - 100.0, 0.0]], [100.0, 0.0])
    found = loss_of(student, [[[1.0], [0.0]]], np.zeros((1, 2)), teacher, temperature=1.0, weight=1.0)
    assert found == pytest.approx(DIVERGENCE, rel=1e-4)


def test_regularization_keeps_its_full_strength():
    """Distance 4, own loss 9, penalty 0.5 * 1^2."""
    import keras

    for weight in (0.25, 1.0):
        student = compiled(linear([[1.0]], kernel_regularizer=keras.regularizers.L2(0.5)), "mse")
        found = loss_of(student, [[1.0]], np.array([[4.0]]), linear([[3.0]]), weight=weight)
        assert found == pytest.approx((1 - weight) * 9 + weight * 4 + 0.5)
