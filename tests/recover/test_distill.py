"""Distillation in plain `fit`: losses worked out by hand, and a model that is afterwards as if nothing had happened."""

from __future__ import annotations

import math
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from edgeprune.errors import InputError
from edgeprune.recover.distillation import Distillation

pytestmark = pytest.mark.keras

X = np.random.default_rng(0).normal(size=(24, 4)).astype(np.float32)
CLASSES = (np.arange(24) % 3).astype(np.int32)
SPARSE = "sparse_categorical_crossentropy"
# KL((3/4, 1/4) || (1/2, 1/2))
DIVERGENCE = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)


def callback(teacher, **options):
    from edgeprune.recover.distill import DistillationCallback

    return DistillationCallback(teacher, **options)


def linear(kernel, activation=None, **options):
    """A Dense model without bias: its logits are x @ kernel."""
    import keras

    kernel = np.asarray(kernel, dtype=np.float32)
    inputs = keras.Input((kernel.shape[0],))
    model = keras.Model(inputs, keras.layers.Dense(kernel.shape[1], activation, use_bias=False, **options)(inputs))
    model.set_weights([kernel])
    return model


def classifier(seed: int, activation="softmax"):
    import keras

    keras.utils.set_random_seed(seed)
    inputs = keras.Input((4,))
    hidden = keras.layers.BatchNormalization()(keras.layers.Dense(8, activation="relu")(inputs))
    return keras.Model(inputs, keras.layers.Dense(3, activation)(keras.layers.Dropout(0.3)(hidden)))


def compiled(model, loss, **options):
    import keras

    model.compile(options.pop("optimizer", None) or keras.optimizers.SGD(0.0), loss, **options)
    return model


def loss_of(model, x, y, teacher, sample_weight=None, **options) -> float:
    """The loss that one batch of `fit` reports."""
    x = np.asarray(x, dtype=np.float32)
    history = model.fit(
        x, y, sample_weight=sample_weight, batch_size=len(x), verbose=0, callbacks=[callback(teacher, **options)]
    )
    return history.history["loss"][0]


def crossentropy():
    import keras

    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def same_weights(left, right) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(left.get_weights(), right.get_weights(), strict=True))


# the loss, by hand


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


# training


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


def trained(y, *callbacks, loss=SPARSE, seed: int = 5):
    import keras

    model = compiled(classifier(seed), loss, optimizer="adam")
    keras.utils.set_random_seed(9)
    model.fit(X, y, epochs=2, batch_size=10, verbose=0, callbacks=list(callbacks))
    return model


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


def subclassed(own_loss: bool):
    import keras

    class Model(keras.Model):
        """Its compute_loss is from before Keras 3.3: it has no `training`."""

        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")

        def call(self, x):
            return self.dense(x)

        if own_loss:

            def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
                return 10 * super().compute_loss(x, y, y_pred, sample_weight)

    return Model()


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


# what is left behind


def test_nothing_is_left_behind():
    import keras

    teacher, model, plain = classifier(1), trained(CLASSES), trained(CLASSES)
    seen = []
    look = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append((len(model.layers), len(model.variables)))
    )
    model.fit(X, CLASSES, verbose=0, callbacks=[callback(teacher), look])
    assert set(seen) == {(len(plain.layers), len(plain.variables))}
    plain.fit(X, CLASSES, verbose=0)
    assert vars(model).keys() == vars(plain).keys()
    assert model.compute_loss.__func__ is keras.Model.compute_loss
    assert len(model.metrics) == len(plain.metrics)


def test_the_next_fit_is_a_plain_one():
    student, one = compiled(linear([[1.0]]), "mse"), np.ones((1, 1))
    assert loss_of(student, one, 4 * one, linear([[3.0]]), weight=0.5) == pytest.approx((9 + 4) / 2)
    assert student.fit(one, 4 * one, verbose=0).history["loss"] == pytest.approx([9.0])


def test_a_model_saved_while_it_learns_has_no_trace_of_the_teacher(tmp_path):
    import keras

    model = compiled(classifier(2), SPARSE, optimizer="adam")
    config = model.to_json()
    teacher = classifier(1)
    teacher.layers[1].name = "the_teacher"
    saving = keras.callbacks.ModelCheckpoint(str(tmp_path / "m.keras"))
    model.fit(X, CLASSES, verbose=0, callbacks=[callback(teacher), saving])
    assert model.to_json() == config
    again = keras.models.load_model(tmp_path / "m.keras")
    assert same_weights(again, model)
    with zipfile.ZipFile(tmp_path / "m.keras") as archive:
        assert b"the_teacher" not in b"".join(archive.read(name) for name in archive.namelist())


class Broken(Exception):
    pass


def broken():
    import keras

    def stop(batch, logs):
        raise Broken

    return keras.callbacks.LambdaCallback(on_train_batch_end=stop)


@pytest.mark.parametrize("again", ["plain", "the same callback", "another callback", "train_on_batch"])
def test_a_fit_that_raised_leaves_nothing_to_the_next(again):
    student, own = compiled(linear([[1.0]]), "mse"), 9.0
    x, y, first = np.ones((1, 1)), np.full((1, 1), 4.0), callback(linear([[3.0]]), weight=0.5)
    with pytest.raises(Broken):
        student.fit(x, y, verbose=0, callbacks=[first, broken()])
    if again == "plain":
        assert student.fit(x, y, verbose=0).history["loss"] == pytest.approx([own])
    elif again == "train_on_batch":
        assert student.train_on_batch(x, y) == pytest.approx(own)
    else:
        second = first if again == "the same callback" else callback(linear([[3.0]]), weight=0.5)
        history = student.fit(x, y, epochs=2, verbose=0, callbacks=[second])
        assert history.history["loss"] == pytest.approx([(own + 4) / 2] * 2)
    assert not vars(student).keys() & {"compute_loss", "make_train_function"}


def test_a_callback_whose_fit_raised_lets_go_of_that_model():
    used = callback(linear([[3.0]]))
    students = [compiled(linear([[1.0]]), "mse") for _ in range(2)]
    with pytest.raises(Broken):
        students[0].fit(np.ones((1, 1)), np.ones((1, 1)), verbose=0, callbacks=[used, broken()])
    students[1].fit(np.ones((1, 1)), np.ones((1, 1)), verbose=0, callbacks=[used])
    for student in students:
        assert "compute_loss" not in vars(student)


def test_one_trace_serves_all_fits_of_a_context():
    from edgeprune.recover.distill import distilling

    teacher, student = linear([[3.0]]), compiled(linear([[1.0]]), "mse")
    calls = []
    own = teacher.call
    teacher.call = lambda *given, **more: (calls.append(None), own(*given, **more))[1]
    with distilling(student, Distillation(teacher, weight=1.0)):
        for _ in range(3):
            history = student.fit(np.ones((4, 1)), np.zeros((4, 1)), verbose=0)
            assert history.history["loss"] == pytest.approx([4.0])
    assert len(calls) == 1
    assert student.fit(np.ones((4, 1)), np.zeros((4, 1)), verbose=0).history["loss"] == pytest.approx([1.0])


# mistakes


def test_it_is_a_keras_callback():
    import keras

    assert isinstance(callback(linear([[1.0]])), keras.callbacks.Callback)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"temperature": 0}, "temperature must be a number above 0, such as 4; got 0"),
        ({"temperature": -1.0}, "temperature must be a number above 0, such as 4; got -1.0"),
        ({"temperature": math.inf}, "temperature must be a number above 0, such as 4; got inf"),
        ({"temperature": "4"}, "temperature must be a number above 0, such as 4; got '4'"),
        ({"weight": 1.01}, "weight must be a number from 0 to 1, such as 0.5; got 1.01"),
        ({"weight": -0.1}, "weight must be a number from 0 to 1, such as 0.5; got -0.1"),
        ({"weight": math.nan}, "weight must be a number from 0 to 1, such as 0.5; got nan"),
        ({"kind": "clasification"}, "unknown kind 'clasification'; did you mean \"classification\"?"),
    ],
)
def test_a_value_out_of_range(options, expected):
    with pytest.raises(InputError) as caught:
        callback(linear([[1.0]]), **options)
    assert str(caught.value) == expected


def two_inputs():
    import keras

    inputs = [keras.Input((1,)), keras.Input((1,))]
    return keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Add()(inputs)))


def two_outputs():
    import keras

    inputs = keras.Input((1,))
    return keras.Model(inputs, [keras.layers.Dense(1)(inputs), keras.layers.Dense(1)(inputs)])


@pytest.mark.parametrize(
    ("teacher", "expected"),
    [
        (lambda student: "dense.keras", "the teacher must be a Keras 3 model; received str"),
        (lambda student: student, "the teacher is the model itself; give another model"),
        (lambda student: wrapped(student), "the teacher shares 1 variables with the model, such as dense"),
        (lambda student: two_inputs(), "the teacher has 2 inputs and the model 1; "),
        (lambda student: two_outputs(), "the teacher has 2 outputs and the model 1; "),
        (lambda student: linear(np.ones((2, 1))), r"input 0 has shape \(2,\) in the teacher and \(1,\) in the model"),
        (lambda student: linear(np.ones((1, 2))), r"output 0 has shape \(2,\) in the teacher and \(1,\) in the model"),
        (lambda student: subclassed(False), "the teacher isn't built, so it has no weights; train or load it"),
    ],
)
def test_a_teacher_that_does_not_fit(teacher, expected):
    student = compiled(linear([[1.0]]), "mse")
    with pytest.raises(InputError, match=expected) as caught:
        student.fit(np.ones((1, 1)), np.ones((1, 1)), verbose=0, callbacks=[callback(teacher(student))])
    assert "\n" not in str(caught.value)
    assert "compute_loss" not in vars(student)


def wrapped(student):
    import keras

    inputs = keras.Input((1,))
    return keras.Model(inputs, student(inputs))


def test_a_subclassed_teacher_of_another_shape_is_refused_before_any_step():
    import keras

    class Teacher(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(2)

        def call(self, x):
            return self.dense(x)

    teacher = Teacher()
    teacher(np.ones((1, 1)))
    student = compiled(linear([[1.0]]), "mse", optimizer=keras.optimizers.SGD(0.1))
    with pytest.raises(InputError, match=r"output 0 has shape \(2,\) in the teacher and \(1,\)"):
        student.fit(np.ones((1, 1)), np.zeros((1, 1)), verbose=0, callbacks=[callback(teacher)])
    assert student.get_weights()[0] == 1.0


def test_other_mistakes():
    import keras

    from edgeprune.recover.distill import distilling

    teacher = linear([[1.0]])
    with pytest.raises(InputError, match="isn't compiled"), distilling(linear([[1.0]]), Distillation(teacher)):
        pass
    x = np.ones((1, 1))
    student = compiled(linear([[1.0]]), "mse")
    with pytest.raises(InputError, match="distilled already; pass one DistillationCallback"):
        student.fit(x, x, verbose=0, callbacks=[callback(teacher), callback(teacher)])
    unknown = keras.Model(student.input, keras.layers.Lambda(keras.ops.softmax)(student.output))
    compiled(unknown, lambda y_true, y_pred: keras.ops.mean(y_pred, -1))
    with pytest.raises(InputError, match='output "lambda.*" is a classifier\'s; give kind="classification" or'):
        unknown.fit(x, x, verbose=0, callbacks=[callback(teacher)])

    class WithoutX(keras.Model):
        def train_step(self, data):
            x, y = data
            return {"loss": self.compute_loss(y=y, y_pred=self(x))}

    inputs = keras.Input((1,))
    guided = compiled(WithoutX(inputs, keras.layers.Dense(1)(inputs)), "mse")
    with pytest.raises(InputError, match="the train_step of WithoutX calls compute_loss without x"):
        guided.fit(x, x, verbose=0, callbacks=[callback(teacher)])
