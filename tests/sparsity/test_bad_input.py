"""What a user gets wrong is one line before training starts."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from edgeprune import (
    LinearSchedule,
    OneShotSchedule,
    PolynomialSchedule,
    PruningCallback,
    freeze_sparsity,
    remove_pruned_channels,
    unfreeze_sparsity,
)
from edgeprune.errors import InputError
from tests.sparsity.optimizer_cases import CASES, compile_model, data, small_model

pytestmark = pytest.mark.keras

AT_ONCE: list[tuple[Callable[[], Any], str]] = [
    (lambda: PruningCallback(1.0), "1.0"),
    (lambda: PruningCallback(PolynomialSchedule(1.2)), "1.2"),
    (lambda: PruningCallback(-0.1), "-0.1"),
    (lambda: PruningCallback("0.5"), "0.5"),
    (lambda: PruningCallback(0.5, pattern="4:4"), "1 <= N < M"),
    (lambda: PruningCallback(0.5, pattern="blocks"), '"2:4"'),
    (lambda: PruningCallback(LinearSchedule(0.5, begin=0.7, end=0.1)), "before it begins"),
    (lambda: PruningCallback(0.5, "magnitud"), '"magnitude"'),
    (lambda: PruningCallback(0.5, "snip"), "needs data"),
    (lambda: PruningCallback(0.5, scope="globl"), '"global"'),
    (lambda: PruningCallback(0.5, min_weights=-1), "min_weights"),
    (lambda: PruningCallback(0.5, min_weights=9, pattern="channels"), "min_weights"),
    (lambda: PruningCallback(0.5, pattern="2:4", layer_sparsity={"Dense": 0.2}), "fixes the sparsity"),
    (lambda: PruningCallback(0.5, csv=3), "csv"),
    (lambda: PruningCallback(0.5, "random", seed=-1), "seed"),
    (lambda: freeze_sparsity("model.keras"), "keras.Model is needed"),
    (lambda: unfreeze_sparsity(None), "keras.Model is needed"),
    (lambda: remove_pruned_channels(3), "keras.Model is needed"),
]


@pytest.mark.parametrize(("make", "hint"), AT_ONCE, ids=range(len(AT_ONCE)))
def test_wrong_arguments_are_refused_at_once(make: Callable[[], Any], hint: str) -> None:
    with pytest.raises(InputError, match=re.escape(hint)) as caught:
        make()
    assert "\n" not in str(caught.value)


BEFORE_TRAINING: list[tuple[dict[str, Any], str]] = [
    ({"include": "conv2"}, "matches no layer"),
    ({"include": "Dens"}, '"Dense"'),
    ({"exclude": re.compile("head")}, "matches no layer"),
    ({"exclude": ["Conv2D", "Dense"]}, "no weights are left"),
    ({"layer_sparsity": {"Dense": 1.5}}, "[0, 1)"),
    ({"layer_sparsity": {"Dens": 0.5}}, '"Dense"'),
    ({"layer_sparsity": [0.5]}, "dictionary"),
    ({"include": 3}, "layer names"),
    ({"include": "re:("}, "not a regular expression"),
    ({"schedule": OneShotSchedule(0.5, at=500)}, "500"),
    ({"schedule": 0.5, "criterion": "movement"}, "later begin"),
]


@pytest.mark.parametrize(("arguments", "hint"), BEFORE_TRAINING, ids=range(len(BEFORE_TRAINING)))
def test_what_does_not_fit_the_model_stops_before_the_first_step(arguments: dict[str, Any], hint: str) -> None:
    model = small_model()
    compile_model(model, CASES[3])
    before = model.get_weights()
    callback = PruningCallback(**{"schedule": LinearSchedule(0.5, begin=0.2, end=0.8), **arguments})
    with pytest.raises(InputError, match=re.escape(hint)) as caught:
        model.fit(*data(), batch_size=16, epochs=2, verbose=0, callbacks=[callback])
    assert "\n" not in str(caught.value)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_a_training_of_unknown_length_needs_steps() -> None:
    import tensorflow as tf

    model = small_model()
    compile_model(model, CASES[3])
    batches = tf.data.Dataset.from_generator(
        lambda: ((x[None], y[None]) for x, y in zip(*data(), strict=True)),
        output_signature=(tf.TensorSpec((1, 6, 6, 2)), tf.TensorSpec((1,), tf.int64)),
    )
    with pytest.raises(InputError, match="steps_per_epoch"):
        model.fit(batches, epochs=2, verbose=0, callbacks=[PruningCallback(LinearSchedule(0.5, begin=0.1, end=0.5))])
    callback = PruningCallback(LinearSchedule(0.5, begin=10, end=70), scope="layer")
    model.fit(batches, epochs=2, verbose=0, callbacks=[callback])
    assert np.count_nonzero(model.layers[0].kernel) == 36  # 64 steps an epoch: the ramp ends in the second
    assert callback._step == 2 * 64 - 1
    with pytest.raises(InputError, match="steps_per_epoch"):
        model.fit(batches, epochs=3, initial_epoch=2, verbose=0, callbacks=[callback])


def test_nothing_to_ask_before_training() -> None:
    with pytest.raises(InputError, match="no training has begun"):
        _ = PruningCallback(0.5).sparsity


def test_a_model_without_kernels() -> None:
    model = keras.Sequential([keras.Input((4,)), keras.layers.BatchNormalization()])
    model.compile("adam", "mse")
    x = np.zeros((8, 4), "float32")
    with pytest.raises(InputError, match="no weights are left to prune"):
        model.fit(x, x, verbose=0, callbacks=[PruningCallback(0.5)])
