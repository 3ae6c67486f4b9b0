"""Fine-tuning after the dense model: traced once, continued exactly, and off when not asked for."""

from __future__ import annotations

import numpy as np
import pytest

from edgeprune.data.load import load_data
from edgeprune.data.signature import signature_of
from edgeprune.recover.distillation import Distillation
from edgeprune.recover.finetune import Recipe, finetune
from edgeprune.task.options import TaskOptions
from edgeprune.task.resolve import resolve_task

pytestmark = pytest.mark.keras

EPOCHS = 4
# 21 samples in batches of 8: the last batch of an epoch is smaller
X = np.random.default_rng(0).normal(size=(21, 4)).astype(np.float32)
Y = (np.arange(21) % 3).astype(np.int32)


class Killed(BaseException):
    pass


def classifier(seed: int, width: int):
    import keras

    keras.utils.set_random_seed(seed)
    inputs = keras.Input((4,))
    hidden = keras.layers.Dropout(0.2)(keras.layers.Dense(width, activation="relu")(inputs))
    return keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(hidden))


def run(state, distillation, *, y=Y, kill_after: int | None = None, look=lambda: None):
    """Fine-tune; the "metric" is the number of steps, so that the last weights are kept."""
    student = classifier(2, 4)
    train = load_data(((X, y), (X, y)), signature_of(student)).train
    task = resolve_task(student, y, signature_of(student), TaskOptions(optimizer="sgd", learning_rate=0.5))
    calls = 0

    def evaluate(model) -> float:
        nonlocal calls
        calls += 1
        look()
        if calls - 1 == kill_after:
            raise Killed
        return float(model.optimizer.iterations)

    recipe = Recipe(EPOCHS, batch_size=8, seed=3)
    finetune(student, train, recipe, task, evaluate=evaluate, state=state, title="test", distillation=distillation)
    assert "compute_loss" not in vars(student)
    return student.get_weights()


def same(left, right) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(left, right, strict=True))


def test_it_changes_the_training_and_full_weight_needs_no_labels(tmp_path):
    teacher = classifier(1, 8)
    plain = run(tmp_path / "plain.npz", None)
    assert same(run(tmp_path / "zero.npz", Distillation(teacher, weight=0.0)), plain)
    taught = run(tmp_path / "full.npz", Distillation(teacher, weight=1.0))
    assert not same(taught, plain)
    assert same(run(tmp_path / "other.npz", Distillation(teacher, weight=1.0), y=Y[::-1].copy()), taught)


def test_the_train_function_is_traced_in_the_first_epoch_only(tmp_path):
    teacher, traces, after = classifier(1, 8), [], []
    own = teacher.call

    def call(*given, **more):
        traces.append(None)
        return own(*given, **more)

    teacher.call = call
    run(tmp_path / "s.npz", Distillation(teacher), look=lambda: after.append(len(traces)))
    assert after[0] == 0
    # Keras may trace again for the smaller batch; later epochs bring nothing new
    assert 1 <= after[1] <= 2
    assert after[1:] == [after[1]] * EPOCHS


def test_killed_and_continued_it_ends_as_undisturbed(tmp_path):
    whole = run(tmp_path / "whole.npz", Distillation(classifier(1, 8)))
    for epochs in (2, 1):  # counted from where it goes on
        with pytest.raises(Killed):
            run(tmp_path / "s.npz", Distillation(classifier(1, 8)), kill_after=epochs)
    assert same(run(tmp_path / "s.npz", Distillation(classifier(1, 8))), whole)
