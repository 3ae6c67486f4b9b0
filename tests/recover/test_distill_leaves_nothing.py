"""After distillation a model is as if nothing had happened, also where `fit` raised."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest

from edgeprune.recover.distillation import Distillation
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
    trained,
)

pytestmark = pytest.mark.keras


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


def test_a_training_loop_that_begins_anew_does_not_stack():
    """A loop of the user's own, which never asks the model for its train function."""
    student, used, one = compiled(linear([[1.0]]), "mse"), callback(linear([[3.0]]), weight=0.5), np.ones((1, 1))
    used.set_model(student)
    for _ in range(2):
        used.on_train_begin()
        assert float(student.compute_loss(one, 4 * one, student(one))) == pytest.approx((9 + 4) / 2)
    used.on_train_end()
    assert float(student.compute_loss(one, 4 * one, student(one))) == pytest.approx(9.0)


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
