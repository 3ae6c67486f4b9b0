"""Fine-tuning: interrupted anywhere and continued it ends bit for bit like an undisturbed run."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgeprune.data.dataset import DatasetSplit
from edgeprune.data.load import load_data
from edgeprune.data.signature import signature_of
from edgeprune.errors import InputError
from edgeprune.recover.finetune import Recipe, finetune
from edgeprune.task.metric import TaskMetric
from edgeprune.task.options import TaskOptions
from edgeprune.task.resolve import Task, resolve_task

pytestmark = pytest.mark.keras

EPOCHS = 3


class Killed(BaseException):
    """Not an Exception, so that nothing on the way takes it for an error to deal with."""


@pytest.fixture(autouse=True)
def _deterministic():
    from edgeprune.pipeline.prepare import start_tensorflow

    start_tensorflow()


def data(count: int = 40):
    """Three classes around three points, and a model that has dropout, BatchNorm and a nested part."""
    rng = np.random.default_rng(0)
    classes = np.arange(count) % 3
    x = (rng.normal(size=(count, 4)) + 1.5 * classes[:, None]).astype(np.float32)
    return x, classes.astype(np.int32)


def fresh_model():
    """A new object with the same weights, as loaded in a new process; its random layers get new states."""
    import keras

    layers = keras.layers
    nested = keras.Sequential([keras.Input((16,)), layers.Dropout(0.3), layers.BatchNormalization()])
    inputs = keras.Input((4,))
    hidden = layers.Dropout(0.2)(nested(layers.Dense(16, activation="relu")(inputs)))
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(hidden))
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(size=w.shape) * 0.5 if w.ndim > 1 else w for w in model.get_weights()])
    return model


def resolved(model, train, **options) -> Task:
    return resolve_task(model, train.label_sample(100, 0), signature_of(model), TaskOptions(**options))


def accuracy(model) -> float:
    x, y = data()
    return float((model.predict_on_batch(x).argmax(1) == y).mean())


def split(model, x=None, y=None):
    x, y = data() if x is None else (x, y)
    return load_data(((x, y), (x, y)), signature_of(model)).train


def run(state, *, seed: int = 3, evaluate=accuracy, train=None, optimizer: str = "adam", epochs: int = EPOCHS):
    model = fresh_model()
    train = split(model) if train is None else train
    task = resolved(model, train, optimizer=optimizer, learning_rate=0.01)
    recipe = Recipe(epochs, batch_size=8, seed=seed)
    done = finetune(model, train, recipe, task, evaluate=evaluate, state=state, title="test")
    return model, done


def assert_same_weights(left, right) -> None:
    for mine, theirs in zip(left.get_weights(), right.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def same_weights(left, right) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(left.get_weights(), right.get_weights(), strict=True))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    from edgeprune.pipeline.prepare import start_tensorflow

    start_tensorflow()
    return run(tmp_path_factory.mktemp("whole") / "s.npz")


def test_training_learns(undisturbed):
    _, done = undisturbed
    assert done.epochs_done == EPOCHS
    assert len(done.metrics) == EPOCHS + 1
    assert max(done.metrics) > done.metrics[0]


@pytest.mark.parametrize("killed_at", range(EPOCHS + 1))
def test_killed_before_a_state_is_written(tmp_path, undisturbed, killed_at):
    """After the steps of an epoch, before its state is written (0: before training): that epoch is done again."""
    calls = 0

    def evaluate(model) -> float:
        nonlocal calls
        calls += 1
        if calls == killed_at + 1:
            raise Killed
        return accuracy(model)

    with pytest.raises(Killed):
        run(tmp_path / "s.npz", evaluate=evaluate)
    assert (tmp_path / "s.npz").exists() == (killed_at > 1)
    model, done = run(tmp_path / "s.npz")
    assert done == undisturbed[1]
    assert_same_weights(model, undisturbed[0])


def test_killed_within_an_epoch_and_again(tmp_path, undisturbed):
    """In the middle of the second epoch, then in the middle of the last."""
    import tensorflow as tf

    class Interrupted:
        def __init__(self, train, epoch: int) -> None:
            self.train, self.left, self.size = train, epoch, train.size

        def label_sample(self, count: int, seed: int):
            return self.train.label_sample(count, seed)

        def epoch(self, batch_size: int, seed: int):
            order = self.train.epoch(batch_size, seed)
            take = type(order).__getitem__

            def batch(index: int):
                if index == 3:
                    self.left -= 1
                    if self.left == 0:
                        raise Killed
                return take(order, index)

            return sequence(len(order), batch)

    for epoch in (2, 2):  # counted from where the run goes on
        with pytest.raises(tf.errors.UnknownError, match="Killed"):  # what tf.data makes of it
            run(tmp_path / "s.npz", train=Interrupted(split(fresh_model()), epoch))
    model, done = run(tmp_path / "s.npz")
    assert done == undisturbed[1]
    assert_same_weights(model, undisturbed[0])


def sequence(length: int, batch):
    import keras

    class Batches(keras.utils.PyDataset):
        def __len__(self) -> int:
            return length

        def __getitem__(self, index: int):
            return batch(index)

    return Batches()


def test_a_finished_run_is_not_trained_again(tmp_path, undisturbed):
    run(tmp_path / "s.npz")

    def evaluate(model) -> float:
        raise AssertionError("nothing is left to evaluate")

    model, done = run(tmp_path / "s.npz", evaluate=evaluate)
    assert done == undisturbed[1]
    assert_same_weights(model, undisturbed[0])


def test_another_seed_gives_another_model(tmp_path, undisturbed):
    assert not same_weights(run(tmp_path / "s.npz", seed=4)[0], undisturbed[0])


def test_under_mixed_precision_the_loss_scale_is_continued_too(tmp_path):
    """Large targets overflow at the first scales: steps are left out while the scale falls. A run that began again
    with the first scale would leave out more."""
    import keras

    def model():
        inputs = keras.Input((4,))
        hidden = keras.layers.Dense(8, activation="relu", dtype="mixed_float16")(inputs)
        made = keras.Model(inputs, keras.layers.Dense(1, dtype="float32")(hidden))
        rng = np.random.default_rng(1)
        made.set_weights([rng.normal(size=w.shape) for w in made.get_weights()])
        return made

    x = np.random.default_rng(2).normal(size=(32, 4)).astype(np.float32)
    y = 50 * x.sum(1, keepdims=True)

    def train(state, evaluate):
        trained = model()
        own = split(trained, x, y)
        optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.01))
        task = resolved(trained, own, optimizer=optimizer)
        recipe = Recipe(3, batch_size=8, seed=0)
        finetune(trained, own, recipe, task, evaluate=evaluate, state=state, title="test")
        return trained

    scales = []

    def error(trained) -> float:
        scales.append(float(np.asarray(trained.optimizer.dynamic_scale)))
        return float(np.abs(trained.predict_on_batch(x) - y).mean())

    whole = train(tmp_path / "whole.npz", error)
    assert scales[0] > scales[1]  # steps were left out in the first epoch
    calls = 0

    def killed(trained) -> float:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise Killed
        return error(trained)

    with pytest.raises(Killed):
        train(tmp_path / "s.npz", killed)
    assert_same_weights(train(tmp_path / "s.npz", error), whole)


def constant_gradient(optimizer, higher_is_better: bool = True):
    """A model of one number b, and a task whose loss is b: every step moves b by the learning rate."""
    import keras

    inputs = keras.Input((1,))
    model = keras.Model(inputs, keras.layers.Dense(1, kernel_initializer="zeros")(inputs))
    model.layers[-1].kernel.trainable = False
    task = Task(
        loss=lambda labels, predicted: keras.ops.mean(predicted),
        loss_weights=None,
        make_optimizer=lambda: type(optimizer).from_config(optimizer.get_config()),
        make_metrics=list,
        metric=TaskMetric("number", higher_is_better, signature_of(model), lambda: None),
        notes=(),
    )
    return model, task


def number_of(model) -> float:
    return float(np.asarray(model.layers[-1].bias)[0])


def trajectory(tmp_path, optimizer, epochs: int, train=None, batch_size: int = 2) -> list[float]:
    """b before training and after each epoch, of 6 samples."""
    model, task = constant_gradient(optimizer)
    seen = []

    def evaluate(trained) -> float:
        seen.append(number_of(trained))
        return 0.0

    zeros = np.zeros((6, 1), dtype=np.float32)
    train = split(model, zeros, zeros) if train is None else train(model, zeros)
    recipe = Recipe(epochs, batch_size, seed=0)
    finetune(model, train, recipe, task, evaluate=evaluate, state=tmp_path / "s.npz", title="test")
    return seen


def cosine_sums(rate: float, epochs: int, steps: int, by_step: bool = True) -> list[float]:
    """What the rates of all steps add up to after each epoch."""
    parts = [(e + (s / steps if by_step else 0)) / epochs for e in range(epochs) for s in range(steps)]
    rates = [rate * (0.01 + 0.99 * (1 + math.cos(math.pi * part)) / 2) for part in parts]
    return [0.0, *np.cumsum(rates)[steps - 1 :: steps]]


def sgd(rate):
    import keras

    return keras.optimizers.SGD(rate)


def test_the_learning_rate_falls_along_a_half_cosine(tmp_path):
    """6 samples in batches of 2: 3 steps per epoch."""
    assert trajectory(tmp_path, sgd(0.1), 4) == pytest.approx([-s for s in cosine_sums(0.1, 4, 3)], rel=1e-5)


@pytest.mark.parametrize(("size", "steps"), [(1, 6), (3, 2)])
def test_a_dataset_in_batches_of_its_own(tmp_path, size, steps):
    """Steps are counted in the dataset's batches, not in the recipe's."""
    import tensorflow as tf

    def batched(model, zeros):
        return DatasetSplit(tf.data.Dataset.from_tensor_slices((zeros, zeros)).batch(size), signature_of(model), "data")

    seen = trajectory(tmp_path, sgd(0.1), 3, batched, batch_size=6)
    assert seen == pytest.approx([-s for s in cosine_sums(0.1, 3, steps)], rel=1e-5)


def test_a_dataset_of_unknown_length_keeps_the_rate_within_an_epoch(tmp_path):
    import tensorflow as tf

    def generated(model, zeros):
        dataset = tf.data.Dataset.from_tensor_slices((zeros, zeros)).filter(lambda x, y: True)
        assert int(dataset.cardinality()) < 0
        return DatasetSplit(dataset, signature_of(model), "data")

    seen = trajectory(tmp_path, sgd(0.1), 3, generated)
    assert seen == pytest.approx([-s for s in cosine_sums(0.1, 3, 3, by_step=False)], rel=1e-5)


def test_a_schedule_of_the_user_is_left_alone(tmp_path):
    """0.1 for the first 4 steps, then 1: epochs of 3 steps move by 0.3, 0.1 + 2, 3."""
    import keras

    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([3], [0.1, 1.0])
    assert trajectory(tmp_path, sgd(schedule), 3) == pytest.approx([0.0, -0.3, -2.4, -5.4], rel=1e-5)


def scripted(tmp_path, metrics: list[float], higher_is_better: bool = True, epochs: int = 9):
    """Fine-tune with given metrics; returns the progress, the number kept and the numbers after each epoch."""
    model, task = constant_gradient(sgd(0.1), higher_is_better)
    numbers = []

    def evaluate(trained) -> float:
        numbers.append(number_of(trained))
        return metrics[len(numbers) - 1]

    zeros = np.zeros((6, 1), dtype=np.float32)
    recipe = Recipe(epochs, batch_size=2, seed=0)
    state = tmp_path / "s.npz"
    done = finetune(model, split(model, zeros, zeros), recipe, task, evaluate=evaluate, state=state, title="t")
    return done, number_of(model), numbers


def test_patience_is_more_than_half_of_the_epochs_and_at_least_5():
    assert [Recipe(epochs, 8, 0).patience for epochs in (1, 9, 10, 20)] == [5, 5, 6, 11]


@pytest.mark.parametrize(
    ("metrics", "higher", "best", "epochs"),
    [
        # the best is the second epoch; five later ones are no better
        ([0.5, 0.7, 0.9, 0.8, 0.85, 0.1, 0.2, 0.3], True, 2, 7),
        ([0.5, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7], True, 1, 6),  # equal is not better
        ([0.9, 0.1, 0.2, 0.3, 0.4, 0.5], True, 0, 5),  # the untrained model
        ([0.5, 0.7, 0.3, 0.4, 0.31, 0.9, 0.5, 0.5], False, 2, 7),
        # not a number is never the best
        ([0.5, math.nan, 0.6, 0.1, math.nan, 0.2, 0.2, 0.2], True, 2, 7),
        ([math.nan, 0.1, 0.05, 0.02, 0.02, 0.02, 0.02], True, 1, 6),
        # a late best one: all epochs are used
        ([0.1, 0.2, 0.1, 0.1, 0.1, 0.1, 0.3, 0.2, 0.2, 0.2], True, 6, 9),
    ],
)
def test_the_best_weights_are_kept_and_training_stops_early(tmp_path, metrics, higher, best, epochs):
    done, kept, numbers = scripted(tmp_path, metrics, higher_is_better=higher)
    assert (done.best_epoch, done.epochs_done) == (best, epochs)
    np.testing.assert_array_equal(done.metrics, metrics)
    assert kept == numbers[best]
    assert len(set(numbers)) == len(numbers)


def test_no_epochs_leave_the_model_as_it_is(tmp_path):
    done, kept, numbers = scripted(tmp_path, [0.5], epochs=0)
    assert (done.epochs_done, done.metrics, kept, numbers) == (0, (0.5,), 0.0, [0.0])


def test_a_loss_that_is_not_finite_at_once_is_an_error(tmp_path):
    with pytest.raises(InputError, match=r"training loss became -inf in the first epoch; lower \[training\]"):
        trajectory(tmp_path, sgd(math.inf), 3)
    assert not (tmp_path / "s.npz").exists()


def test_a_loss_that_explodes_later_ends_training_with_the_best_weights(tmp_path):
    import keras

    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([2], [0.1, 3e38])
    model, task = constant_gradient(sgd(schedule))
    zeros = np.zeros((6, 1), dtype=np.float32)
    done = finetune(
        model,
        split(model, zeros, zeros),
        Recipe(5, batch_size=2, seed=0),
        task,
        evaluate=lambda trained: -number_of(trained),
        state=tmp_path / "s.npz",
        title="t",
    )
    assert (done.epochs_done, done.best_epoch) == (1, 1)
    assert number_of(model) == pytest.approx(-0.3)


def test_a_damaged_state_is_refused_and_left(tmp_path):
    (tmp_path / "s.npz").write_bytes(b"garbage")
    with pytest.raises(InputError, match=r"s\.npz is damaged .*--fresh$"):
        run(tmp_path / "s.npz")
    assert (tmp_path / "s.npz").read_bytes() == b"garbage"
