"""Tasks of models that aren't compiled: from the shape of output and labels, or from the configuration."""

import keras
import numpy as np
import pytest

from edgeprune.errors import InputError
from tests.task.models import BINARY, CLASSES, ONE_HOT, TARGETS, X, model, task_of, two_outputs

pytestmark = pytest.mark.keras


@pytest.mark.parametrize(
    ("width", "activation", "labels", "loss", "logits", "metric"),
    [
        (3, "softmax", CLASSES, "SparseCategoricalCrossentropy", False, "accuracy"),
        (3, None, CLASSES, "SparseCategoricalCrossentropy", True, "accuracy"),
        (3, "softmax", ONE_HOT, "CategoricalCrossentropy", False, "accuracy"),
        (3, None, ONE_HOT, "CategoricalCrossentropy", True, "accuracy"),
        (3, "softmax", ONE_HOT * 0.5 + 1 / 6, "CategoricalCrossentropy", False, "accuracy"),
        (1, "sigmoid", BINARY, "BinaryCrossentropy", False, "accuracy"),
        (1, None, BINARY, "BinaryCrossentropy", True, "accuracy"),
        (3, "sigmoid", 1 - ONE_HOT, "BinaryCrossentropy", False, "binary_accuracy"),
        (1, None, TARGETS, "MeanSquaredError", None, "mean_absolute_error"),
        (3, None, ONE_HOT * 2.5, "MeanSquaredError", None, "mean_absolute_error"),
    ],
)
def test_loss_and_metric(width, activation, labels, loss, logits, metric):
    keras_model = model(width, activation)
    task = task_of(keras_model, labels)
    assert type(task.loss).__name__ == loss
    assert getattr(task.loss, "from_logits", None) is logits
    assert task.metric.name == metric
    assert task.metric.higher_is_better is (metric != "mean_absolute_error")
    task.compile(keras_model)
    history = keras_model.fit(X, labels, verbose=0).history
    assert metric in history


def test_the_metric_is_what_keras_logs_and_what_numpy_says():
    for keras_model, labels in ((model(3), CLASSES), (model(3), ONE_HOT), (model(1, None), TARGETS)):
        task = task_of(keras_model, labels)
        task.compile(keras_model)
        predictions = keras_model.predict(X, verbose=0)
        ours = task.metric.evaluate([labels[:3], labels[3:]], [predictions[:3], predictions[3:]])
        logged = keras_model.evaluate(X, labels, verbose=0, return_dict=True)[task.metric.name]
        assert ours == pytest.approx(logged, abs=1e-6)
    assert ours == pytest.approx(np.abs(predictions - TARGETS).mean(), abs=1e-6)


def test_binary_logits_are_compared_with_zero():
    task = task_of(model(1, None), BINARY)
    # Logits -1 and 0.2 mean classes 0 and 1; at Keras's threshold of 0.5 the second would be 0.
    predictions = np.array([[-1], [0.2], [0.2], [-1]], np.float32)
    assert task.metric.evaluate([BINARY], [predictions]) == 1.0


def test_each_output_gets_its_own_loss_and_the_metric_is_the_total():
    keras_model = two_outputs()
    labels = (CLASSES, TARGETS)
    task = task_of(keras_model, labels)
    assert [type(loss).__name__ for loss in task.loss] == ["SparseCategoricalCrossentropy", "MeanSquaredError"]
    assert (task.metric.name, task.metric.higher_is_better) == ("loss", False)
    task.compile(keras_model)
    logged = keras_model.evaluate(X, list(labels), verbose=0, return_dict=True)["loss"]
    predictions = keras_model.predict(X, verbose=0)
    halves = [tuple(part[rows] for part in labels) for rows in (slice(0, 3), slice(3, 4))]
    predicted = [tuple(part[rows] for part in predictions) for rows in (slice(0, 3), slice(3, 4))]
    assert task.metric.evaluate(halves, predicted) == pytest.approx(logged, rel=1e-5)
    named = [dict(zip(["kind", "age"], part, strict=True)) for part in predicted]
    assert task.metric.evaluate(halves, named) == pytest.approx(logged, rel=1e-5)


def test_the_configuration_fills_in():
    keras_model = model(1, None)
    task = task_of(keras_model, TARGETS, loss="mae", optimizer="SGD", learning_rate=0.125, metric="mse")
    assert task.loss is keras.losses.mean_absolute_error
    optimizer = task.make_optimizer()
    assert isinstance(optimizer, keras.optimizers.SGD)
    assert float(optimizer.learning_rate) == 0.125
    assert (task.metric.name, task.metric.higher_is_better) == ("mse", False)
    assert task.metric.evaluate([TARGETS], [TARGETS + 2]) == pytest.approx(4.0)
    assert isinstance(task_of(keras_model, TARGETS).make_optimizer(), keras.optimizers.Adam)


def test_options_for_several_outputs():
    labels = (CLASSES, TARGETS)
    task = task_of(two_outputs(), labels, loss={"kind": "crossentropy", "age": "mae"}, metric="kind_accuracy")
    assert task.loss[1] is keras.losses.mean_absolute_error
    assert (task.metric.name, task.metric.higher_is_better) == ("kind_accuracy", True)
    assert task.metric.evaluate([labels], [(ONE_HOT, TARGETS)]) == 1.0
    with pytest.raises(InputError, match="<output>_<metric>"):
        task_of(two_outputs(), labels, metric="accuracy")
    with pytest.raises(InputError, match='did you mean "kind"'):
        task_of(two_outputs(), labels, loss={"kin": "mse"})


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"loss": "mean_sqared_error"}, 'did you mean "mean_squared_error"?'),
        ({"optimizer": "adamm"}, 'did you mean "adam"?'),
        ({"metric": "mean_absolut_error"}, "mean_absolute_error"),
        ({"metric": "MeanIoU"}, "no Keras metric that works by name"),
    ],
)
def test_unknown_names(options, expected):
    with pytest.raises(InputError) as caught:
        task_of(model(1, None), TARGETS, **options)
    assert expected.lower().replace("_", "") in str(caught.value).lower().replace("_", "")
    assert "\n" not in str(caught.value)


def test_metrics_that_are_not_one_number():
    with pytest.raises(InputError, match="several numbers"):
        task_of(model(3), ONE_HOT, metric="f1_score")
    averaged = task_of(model(3), ONE_HOT, metric=keras.metrics.F1Score(average="macro"))
    assert averaged.metric.evaluate([ONE_HOT], [ONE_HOT]) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="batch"):
        averaged.metric.evaluate([], [])


def test_a_metric_that_can_not_take_the_labels_fails_before_training():
    with pytest.raises(InputError, match='"precision" can\'t be computed on these labels'):
        task_of(model(3), CLASSES, metric="precision")
