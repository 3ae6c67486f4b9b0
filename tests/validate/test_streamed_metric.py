"""Metrics measured batch by batch through both models."""

from __future__ import annotations

import time
from collections.abc import Iterable

import numpy as np
import pytest

from edgeprune.errors import InputError
from edgeprune.export.convert import convert
from edgeprune.validate.metric import evaluate_keras, evaluate_tflite

pytestmark = pytest.mark.keras


class Accuracy:
    name = "accuracy"

    def evaluate(self, y_true_batches: Iterable[np.ndarray], y_pred_batches: Iterable[np.ndarray]) -> float:
        right = total = 0
        for truth, scores in zip(y_true_batches, y_pred_batches, strict=True):
            right += int((scores.argmax(axis=-1) == truth).sum())
            total += len(truth)
        return right / total


class Collected:
    """Not a metric: keeps what it is given, to compare."""

    name = "collected"

    def evaluate(self, y_true_batches, y_pred_batches) -> float:
        self.truth, self.predictions = list(y_true_batches), list(y_pred_batches)
        return 0.0


def batched(images: np.ndarray, labels: np.ndarray, size: int):
    return (([images[n : n + size]], labels[n : n + size]) for n in range(0, len(images), size))


@pytest.fixture
def labels(classifier, images):
    """The classifier's own answers, every fourth one wrong: the accuracy is 30 of 40."""
    answers = classifier.predict(images, verbose=0).argmax(axis=-1)
    answers[::4] = (answers[::4] + 1) % 5
    return answers


# 7 does not divide 40, and 1 sample can't be shared by 3 workers
@pytest.mark.parametrize(("size", "workers"), [(40, 1), (7, 2), (1, 3)])
def test_accuracy_of_both_models(classifier, lite, images, labels, size, workers):
    assert evaluate_keras(classifier, batched(images, labels, size), Accuracy()) == 0.75
    found = evaluate_tflite(lite["none"], batched(images, labels, size), Accuracy(), workers=workers)
    assert found == 0.75


def test_labels_and_predictions_stay_together(lite, classifier, images, labels, tmp_path):
    file = tmp_path / "m.tflite"
    file.write_bytes(lite["none"])
    metric = Collected()
    evaluate_tflite(file, batched(images, labels, 16), metric, batch_count=3)
    assert [len(part) for part in metric.truth] == [len(part) for part in metric.predictions] == [16, 16, 8]
    np.testing.assert_array_equal(np.concatenate(metric.truth), labels)
    expected = classifier.predict(images, verbose=0)
    np.testing.assert_allclose(np.concatenate(metric.predictions), expected, atol=1e-5)


def test_several_outputs_come_as_a_tuple_in_the_model_s_order():
    import keras

    value = keras.Input((1,), name="value")
    model = keras.Model(value, [keras.layers.Rescaling(3.0)(value), keras.layers.Rescaling(2.0)(value)])
    batches = [([np.array([[1.0], [5.0]], np.float32)], None)]
    keras_metric, lite_metric = Collected(), Collected()
    evaluate_keras(model, batches, keras_metric)
    evaluate_tflite(convert(model, "none"), batches, lite_metric)
    for metric in (keras_metric, lite_metric):
        ((tripled, doubled),) = metric.predictions
        assert tripled.ravel().tolist() == [3.0, 15.0]
        assert doubled.ravel().tolist() == [2.0, 10.0]


def test_one_batch_of_inputs_is_held_at_a_time(lite, images):
    import weakref

    alive: list[weakref.ref] = []
    most = 0

    def batches():
        nonlocal most
        for _ in range(6):
            batch = images[:4].copy()
            alive.append(weakref.ref(batch))
            yield [batch], np.zeros(4)
            del batch
            most = max(most, sum(reference() is not None for reference in alive))

    evaluate_tflite(lite["none"], batches(), Accuracy())
    assert most <= 2


def test_compiled_state_is_kept(images, labels):
    import keras

    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(5)])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    before = [weight.copy() for weight in model.get_weights()]
    evaluate_keras(model, batched(images, labels, 8), Accuracy())
    assert model.compiled
    assert model.loss == "sparse_categorical_crossentropy"
    assert all(np.array_equal(old, new) for old, new in zip(before, model.get_weights(), strict=True))


def test_no_batches_is_an_error(lite, classifier):
    for evaluate in (
        lambda: evaluate_tflite(lite["none"], [], Accuracy()),
        lambda: evaluate_keras(classifier, [], Accuracy()),
    ):
        with pytest.raises(InputError, match="no validation data to measure accuracy"):
            evaluate()


def test_ten_thousand_samples_take_seconds(lite, images):
    many = np.tile(images, (250, 1, 1, 1))
    start = time.perf_counter()
    evaluate_tflite(lite["none"], batched(many, np.zeros(len(many)), 500), Accuracy())
    # about 0.2 s; the limit leaves room for a busy machine
    assert time.perf_counter() - start < 10
