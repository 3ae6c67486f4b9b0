"""What is trained under distillation: the student alone, as plain `fit` does it, on any device."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest

from tests.recover.distill_cases import (
    CLASSES,
    SPARSE,
    X,
    callback,
    classifier,
    compiled,
    linear,
    loss_of,
    same_weights,
    subclassed,
    trained,
)

pytestmark = pytest.mark.keras


def test_the_gradient_reaches_the_student_alone():
    """Squared error (w - 1)^2 at w = 0: one step of 0.1 goes to 0.2. The teacher's weights and statistics stay."""
    import keras

    student, teacher = compiled(linear([[0.0]]), "mse", optimizer=keras.optimizers.SGD(0.1)), linear([[1.0]])
    loss_of(student, [[1.0]], np.array([[50.0]]), teacher, weight=1.0)
    np.testing.assert_allclose(student.get_weights()[0], [[0.2]], rtol=1e-6)
    assert teacher.get_weights()[0] == 1.0
    teacher = classifier(1)
    before = [np.asarray(variable).copy() for variable in teacher.variables]
    compiled(classifier(2), SPARSE).fit(X, CLASSES, verbose=0, callbacks=[callback(teacher)])
    for variable, value in zip(teacher.variables, before, strict=True):
        np.testing.assert_array_equal(np.asarray(variable), value)


def test_weight_0_trains_as_plain_fit():
    plain = trained(CLASSES)
    assert same_weights(trained(CLASSES, callback(classifier(1), weight=0.0)), plain)
    assert not same_weights(trained(CLASSES, callback(classifier(1), weight=0.1)), plain)


def test_weight_1_ignores_the_labels():
    import keras

    teacher = classifier(1)
    assert same_weights(
        trained(CLASSES, callback(teacher, weight=1.0)), trained(CLASSES[::-1], callback(teacher, weight=1.0))
    )
    targets = np.full((24, 3), np.nan)
    model = trained(targets, callback(teacher, weight=1.0), loss=keras.losses.CategoricalCrossentropy())
    assert np.isfinite(np.concatenate([w.ravel() for w in model.get_weights()])).all()


def test_validation_is_by_the_own_loss():
    model = compiled(classifier(2), SPARSE)
    history = model.fit(
        X, CLASSES, verbose=0, validation_data=(X, CLASSES), callbacks=[callback(classifier(1), weight=1.0)]
    )
    assert history.history["val_loss"][-1] == pytest.approx(model.evaluate(X, CLASSES, verbose=0), rel=1e-6)


def test_float16_outputs_train():
    """A student probability of 1e-7 has no usable gradient in float16; the logits have."""
    import keras

    student = linear([[16.0, 0.0]], "softmax", dtype="mixed_float16")
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.01), initial_scale=256.0)
    compiled(student, SPARSE, optimizer=optimizer)
    found = loss_of(student, [[1.0]], np.array([0]), linear([[0.0, 0.0]], "softmax"), temperature=1.0, weight=1.0)
    # KL((1/2, 1/2) || (1 - e, e)) with e = 1 / (1 + exp(16)), and half of a logit's step of 0.01
    assert found == pytest.approx(math.log(0.5) + 0.5 * 16, rel=1e-3)
    np.testing.assert_allclose(student.get_weights()[0], [[16 - 0.005, 0.005]], rtol=1e-5)
    assert float(np.asarray(optimizer.dynamic_scale)) == 256.0


@pytest.mark.parametrize("own_loss", [False, True])
def test_a_subclassed_model_with_a_loss_of_its_own(own_loss):
    """Own loss 9, times 10 in the subclass; distance 4."""
    model = compiled(subclassed(own_loss), "mse")
    factor = 10 if own_loss else 1
    history = model.fit(
        np.ones((1, 1)),
        np.full((1, 1), 4.0),
        validation_data=(np.ones((1, 1)), np.full((1, 1), 4.0)),
        verbose=0,
        callbacks=[callback(linear([[3.0]]), weight=0.5)],
    )
    assert history.history["loss"] == pytest.approx([(9 * factor + 4) / 2])
    assert history.history["val_loss"] == pytest.approx([9 * factor])


TWO_DEVICES = """
import numpy as np
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

import keras

from edgeprune.recover.distill import DistillationCallback


def made(seed):
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((4,))
    hidden = keras.layers.Dense(8, activation="relu", kernel_regularizer="l2")(inputs)
    return keras.Model(inputs, keras.layers.Dense(3, "softmax")(hidden))


def trained(strategy, teacher, weight=0.5):
    with strategy.scope():
        model = made(2)
        model.compile(keras.optimizers.SGD(0.5), "sparse_categorical_crossentropy", weighted_metrics=[])
    assert strategy.num_replicas_in_sync == (2 if isinstance(strategy, tf.distribute.MirroredStrategy) else 1)
    x = np.random.default_rng(0).normal(size=(16, 4)).astype("float32")
    history = model.fit(
        x, np.arange(16) % 3, sample_weight=np.linspace(0, 2, 16), batch_size=8, epochs=2, shuffle=False, verbose=0,
        callbacks=[DistillationCallback(teacher, weight=weight)],
    )
    return model.get_weights(), history.history["loss"]


teacher = made(1)
two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with two.scope():
    mirrored = made(1)
one = trained(tf.distribute.get_strategy(), teacher)
for given in (teacher, mirrored):
    found = trained(two, given)
    np.testing.assert_allclose(found[1], one[1], rtol=1e-5)
    for mine, theirs in zip(found[0], one[0], strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-6)
assert abs(trained(two, teacher, weight=0.25)[1][0] - one[1][0]) > 1e-3
"""


def test_two_devices_train_as_one():
    """The same batches on one device and halved over two: same losses, same weights."""
    done = subprocess.run([sys.executable, "-c", TWO_DEVICES], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
