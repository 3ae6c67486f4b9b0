"""Fine-tuning that prunes: the hook is told where training is, the last weights stay, and the rate may stay too."""

from __future__ import annotations

import numpy as np
import pytest

from edgeprune.data.load import load_data
from edgeprune.data.signature import signature_of
from edgeprune.recover.finetune import Recipe, finetune
from edgeprune.task.options import TaskOptions
from edgeprune.task.resolve import resolve_task

pytestmark = pytest.mark.keras

EPOCHS, BATCH, SAMPLES = 3, 8, 32


class Log:
    """Records what it is told."""

    def __init__(self, model) -> None:
        self.model, self.parts, self.starts, self.rates = model, [], [], []

    def begin_epoch(self) -> None:
        self.starts.append(len(self.parts))

    def before_step(self, part: float) -> None:
        self.parts.append(part)
        self.rates.append(float(np.asarray(self.model.optimizer.learning_rate)))


def run(tmp_path, *, decay: bool = False, data=None, metrics=(0.9, 0.5, 0.4, 0.3)):
    import keras

    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="softmax")])
    rng = np.random.default_rng(0)
    pair = rng.normal(size=(SAMPLES, 4)).astype(np.float32), np.arange(SAMPLES) % 3
    signature = signature_of(model)
    train = load_data(pair if data is None else data(*pair), signature, validation=pair).train
    task = resolve_task(model, train.label_sample(9, 0), signature, TaskOptions(optimizer="sgd", learning_rate=0.1))
    log, values, seen = Log(model), iter(metrics), []

    def evaluate(candidate) -> float:
        seen.append(candidate.get_weights())
        return next(values)

    recipe = Recipe(EPOCHS, BATCH, seed=1, decay=decay)
    done = finetune(model, train, recipe, task, evaluate=evaluate, state=tmp_path / "s.npz", title="test", pruning=log)
    return model, done, log, seen


def test_every_step_is_a_part_of_the_whole_training(tmp_path):
    _, done, log, _ = run(tmp_path)
    steps = SAMPLES // BATCH
    np.testing.assert_allclose(log.parts, np.arange(EPOCHS * steps) / (EPOCHS * steps))
    assert log.starts == [0, steps, 2 * steps]
    assert done.epochs_done == EPOCHS


def test_the_last_weights_stay_though_earlier_ones_were_better(tmp_path):
    """The metric falls from epoch to epoch."""
    model, _, _, seen = run(tmp_path)
    for mine, last, first in zip(model.get_weights(), seen[-1], seen[0], strict=True):
        np.testing.assert_array_equal(mine, last)
        assert not np.array_equal(mine, first)


def test_without_decay_the_rate_stays(tmp_path):
    assert run(tmp_path)[2].rates == [pytest.approx(0.1)] * (EPOCHS * SAMPLES // BATCH)


def test_with_decay_it_falls(tmp_path):
    rates = run(tmp_path, decay=True)[2].rates
    assert rates[1:] == sorted(rates[1:], reverse=True)
    assert rates[-1] < 0.02


def test_data_of_unknown_length_count_whole_epochs(tmp_path):
    import tensorflow as tf

    def streamed(x, y):
        return tf.data.Dataset.from_tensor_slices((x, y)).filter(lambda x, y: True)

    parts = sorted(set(run(tmp_path, data=streamed)[2].parts))
    assert parts == [0.0, pytest.approx(1 / 3), pytest.approx(2 / 3)]
