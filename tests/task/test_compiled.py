"""Tasks of compiled models: what they were compiled with comes first, also after saving and loading."""

import keras
import numpy as np
import pytest

from edgeprune.errors import InputError
from tests.task.models import BINARY, CLASSES, ONE_HOT, TARGETS, X, model, task_of, two_outputs

pytestmark = pytest.mark.keras


def _reloaded(keras_model, tmp_path):
    keras_model.save(tmp_path / "model.keras")
    return keras.models.load_model(tmp_path / "model.keras")


@pytest.mark.parametrize("reload", [False, True])
def test_everything_is_taken_over(tmp_path, reload):
    keras_model = model(3, None)
    keras_model.compile(
        optimizer=keras.optimizers.SGD(0.03, momentum=0.75),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.SparseTopKCategoricalAccuracy(k=2, name="top2"), "accuracy"],
    )
    keras_model.fit(X, CLASSES, verbose=0)
    if reload:
        keras_model = _reloaded(keras_model, tmp_path)
    task = task_of(keras_model, CLASSES, loss="mse", optimizer="adam")
    assert isinstance(task.loss, keras.losses.SparseCategoricalCrossentropy)
    assert task.loss.from_logits
    first, second = task.make_optimizer(), task.make_optimizer()
    assert first is not second
    assert first is not keras_model.optimizer
    assert not first.built
    assert (float(first.learning_rate), first.momentum) == (pytest.approx(0.03), 0.75)
    assert (task.metric.name, task.metric.higher_is_better) == ("top2", True)
    # Class 1 is among the two largest of the first row, class 0 is not in the second.
    assert task.metric.evaluate([np.array([1, 0])], [np.array([[0.5, 0.3, 0.2], [0.1, 0.5, 0.4]])]) == 0.5
    assert len(task.notes) == 2
    clone = model(3, None)
    task.compile(clone)
    assert {"top2", "accuracy"} <= set(clone.fit(X, CLASSES, verbose=0).history)


def test_the_learning_rate_is_the_current_one_unless_overridden():
    keras_model = model(3)
    keras_model.compile(optimizer=keras.optimizers.Adam(0.1), loss="sparse_categorical_crossentropy")
    keras_model.optimizer.learning_rate = 0.25
    assert float(task_of(keras_model, CLASSES).make_optimizer().learning_rate) == 0.25
    assert float(task_of(keras_model, CLASSES, learning_rate=0.5).make_optimizer().learning_rate) == 0.5


def test_schedules_and_loss_scaling():
    keras_model = model(3)
    schedule = keras.optimizers.schedules.ExponentialDecay(0.5, decay_steps=1, decay_rate=0.5)
    keras_model.compile(optimizer=keras.optimizers.Adam(schedule), loss="sparse_categorical_crossentropy")
    keras_model.fit(X, CLASSES, verbose=0)
    assert float(task_of(keras_model, CLASSES).make_optimizer().learning_rate) == 0.5
    assert float(task_of(keras_model, CLASSES, learning_rate=0.125).make_optimizer().learning_rate) == 0.125
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.5))
    keras_model.compile(optimizer=scaled, loss="sparse_categorical_crossentropy")
    made = task_of(keras_model, CLASSES, learning_rate=0.125).make_optimizer()
    assert isinstance(made, keras.optimizers.LossScaleOptimizer)
    assert float(made.learning_rate) == 0.125


@pytest.mark.parametrize("by_name", [False, True])
def test_several_outputs_with_names(tmp_path, by_name):
    keras_model = two_outputs(by_name)
    keras_model.compile(
        loss={"kind": "sparse_categorical_crossentropy", "age": "mse"},
        loss_weights={"kind": 2.0, "age": 0.5},
        metrics={"age": ["mae"], "kind": ["accuracy"]},
    )
    keras_model = _reloaded(keras_model, tmp_path)
    by_output = {"kind": CLASSES, "age": TARGETS}
    names = ["age", "kind"] if by_name else ["kind", "age"]  # Keras sorts the keys of dictionaries
    labels = tuple(by_output[name] for name in names)
    task = task_of(keras_model, labels, metric="age_mae")
    assert task.loss_weights == ([0.5, 2.0] if by_name else [2.0, 0.5])
    assert (task.metric.name, task.metric.higher_is_better) == ("age_mae", False)
    task.compile(keras_model)
    predictions = keras_model.predict(X, verbose=0)
    logged = keras_model.evaluate(X, by_output if by_name else list(labels), verbose=0, return_dict=True)
    assert task.metric.evaluate([labels], [predictions]) == pytest.approx(logged["age_mae"], rel=1e-5)
    total = task_of(keras_model, labels, metric="loss").metric
    assert total.evaluate([labels], [predictions]) == pytest.approx(logged["loss"], rel=1e-5)


def test_which_compiled_metric_judges():
    keras_model = model(1, "sigmoid")
    keras_model.compile(loss="binary_crossentropy", metrics=["accuracy", keras.metrics.AUC(name="area")])
    assert task_of(keras_model, BINARY).metric.name == "accuracy"
    assert task_of(keras_model, BINARY, metric="area").metric.name == "area"
    task = task_of(keras_model, BINARY, metric="mae")
    assert task.metric.name == "accuracy"
    assert '"mae" is not used' in task.notes[0]


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ("mse", "mean_absolute_error"),
        (keras.losses.Huber(), "mean_absolute_error"),
        ("binary_crossentropy", "accuracy"),
    ],
)
def test_a_compiled_loss_decides_what_zeros_and_ones_mean(loss, expected):
    keras_model = model(1, "sigmoid")
    keras_model.compile(loss=loss)
    assert task_of(keras_model, BINARY).metric.name == expected


def test_compiled_without_a_loss_it_is_inferred():
    keras_model = model(3)
    keras_model.compile(optimizer="sgd")
    task = task_of(keras_model, CLASSES)
    assert isinstance(task.loss, keras.losses.SparseCategoricalCrossentropy)
    assert isinstance(task.make_optimizer(), keras.optimizers.SGD)


def halfway(y_true, y_pred):
    """A metric Keras doesn't know."""
    return keras.ops.mean(keras.ops.abs(y_true - y_pred), axis=-1) / 2


class Count(keras.metrics.Metric):
    """A metric that can't be made from its settings."""

    def __init__(self, unused):
        super().__init__(name="count")
        self.total = self.add_variable((), "zeros", name="total")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.total.assign_add(keras.ops.cast(keras.ops.size(y_true), "float32"))

    def result(self):
        return self.total


def test_the_direction_of_an_unknown_metric_must_be_said():
    for metric, value in ((halfway, 1.0), (Count(1), 4.0)):
        keras_model = model(1, None)
        keras_model.compile(loss="mse", metrics=[metric])
        with pytest.raises(InputError, match="set metric_higher_is_better = true or false"):
            task_of(keras_model, TARGETS)
        task = task_of(keras_model, TARGETS, metric_higher_is_better=True)
        assert task.metric.higher_is_better
        for _ in range(2):  # the state of one evaluation must not reach the next
            assert task.metric.evaluate([TARGETS], [TARGETS + 2]) == pytest.approx(value)


class MyArea(keras.metrics.AUC):
    """Known by its base class."""


@pytest.mark.parametrize(
    ("metric", "higher"),
    [
        (keras.metrics.binary_accuracy, True),
        (keras.losses.cosine_similarity, False),
        (MyArea(), True),
        ("CosineSimilarity", True),
        ("bce", False),
        (keras.metrics.RootMeanSquaredError(), False),
    ],
)
def test_directions(metric, higher):
    keras_model = model(1, "sigmoid")
    keras_model.compile(loss="binary_crossentropy", metrics=[metric])
    assert task_of(keras_model, BINARY).metric.higher_is_better is higher


def test_the_table_of_directions_knows_every_keras_metric():
    from edgeprune.task.directions import HIGHER_IS_BETTER

    plain = {"Mean", "MeanMetricWrapper", "Metric", "Sum"}  # they say nothing about the values
    known = {name for name, value in vars(keras.metrics).items() if isinstance(value, type) and value.__name__ == name}
    assert set(HIGHER_IS_BETTER) == known - plain


@pytest.mark.parametrize(
    ("width", "loss", "labels", "expected"),
    [
        (3, "sparse_categorical_crossentropy", ONE_HOT, "needs class numbers"),
        (3, keras.losses.SparseCategoricalCrossentropy(), ONE_HOT, "y.argmax(-1)"),
        (3, "categorical_crossentropy", CLASSES, "to_categorical(y, 3)"),
        (3, keras.losses.CategoricalCrossentropy(), CLASSES, "sparse_categorical_crossentropy"),
        (3, "mse", CLASSES, "mean_squared_error needs labels of the output's shape (n, 3)"),
        (3, "kld", CLASSES, "(class numbers)"),
        (1, "binary_crossentropy", TARGETS, "-1..3"),
    ],
)
def test_a_loss_that_does_not_fit_the_labels(width, loss, labels, expected):
    keras_model = model(width, "softmax" if width == 3 else "sigmoid")
    keras_model.compile(loss=loss)
    with pytest.raises(InputError) as caught:
        task_of(keras_model, labels)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
