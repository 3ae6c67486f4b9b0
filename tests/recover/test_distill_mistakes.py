"""Mistakes in distillation are named in one line, before any weight has changed."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgeprune.errors import InputError
from edgeprune.recover.distillation import Distillation
from tests.recover.distill_cases import callback, compiled, linear, subclassed

pytestmark = pytest.mark.keras


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
