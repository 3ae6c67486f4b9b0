"""Zeros stay exactly zero, and nothing else becomes zero, whatever trains the model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from edgeprune.errors import InputError
from edgeprune.sparsity.freeze import freeze_sparsity, is_frozen, unfreeze_sparsity
from tests.sparsity.optimizer_cases import CASES, OPTIONS, Case, compile_model, data, kernels, small_model, zero_some

pytestmark = pytest.mark.keras

EVERY_CASE = [*CASES, *(replace(case, name=f"{case.name} jit", jit=True) for case in (CASES[3], CASES[-1], *OPTIONS))]


@pytest.mark.parametrize("case", EVERY_CASE, ids=lambda case: case.name)
def test_zeros_stay_zero_and_the_rest_trains(case: Case) -> None:
    model = small_model(case.dtype)
    masks = zero_some(model)
    before = kernels(model)
    compile_model(model, case)
    freeze_sparsity(model)
    model.fit(*data(), batch_size=16, epochs=2, verbose=0)
    for mask, old, new in zip(masks, before, kernels(model), strict=True):
        assert np.array_equal(new != 0, mask)
        assert not np.array_equal(old, new)


def test_without_the_freeze_zeros_are_lost() -> None:
    model = small_model()
    masks = zero_some(model)
    compile_model(model, CASES[3])
    model.fit(*data(), batch_size=16, epochs=1, verbose=0)
    assert np.count_nonzero(kernels(model)[0][~masks[0]]) > 0


def test_a_loop_of_the_users_own_keeps_zeros_too() -> None:
    import tensorflow as tf

    model = small_model()
    masks = zero_some(model)
    freeze_sparsity(model)
    optimizer = keras.optimizers.AdamW(0.01, use_ema=True)  # never seen by compile
    x, y = data()
    for _ in range(3):
        with tf.GradientTape() as tape:
            loss = keras.ops.mean(keras.losses.sparse_categorical_crossentropy(y, model(x), from_logits=True))
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
    assert all(np.array_equal(new != 0, mask) for new, mask in zip(kernels(model), masks, strict=True))


def test_a_model_that_was_trained_before_is_frozen_from_then_on() -> None:
    model = small_model()
    compile_model(model, CASES[3])
    model.fit(*data(), batch_size=16, epochs=1, verbose=0)  # its train step is compiled without masks
    masks = zero_some(model)
    freeze_sparsity(model)
    model.fit(*data(), batch_size=16, epochs=1, verbose=0)
    assert all(np.array_equal(new != 0, mask) for new, mask in zip(kernels(model), masks, strict=True))


def test_after_saving_and_loading_training_goes_on(tmp_path: Path) -> None:
    model = small_model()
    masks = zero_some(model)
    compile_model(model, CASES[3])
    freeze_sparsity(model)
    model.fit(*data(), batch_size=16, epochs=1, verbose=0)
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")  # in safe mode, with nothing of ours registered
    assert [np.array_equal(a, b) for a, b in zip(kernels(loaded), kernels(model), strict=True)] == [True, True]
    freeze_sparsity(loaded)
    loaded.fit(*data(), batch_size=16, epochs=1, verbose=0)
    assert all(np.array_equal(new != 0, mask) for new, mask in zip(kernels(loaded), masks, strict=True))


def test_the_constraint_that_was_there_still_works() -> None:
    model = small_model()
    zero_some(model)
    compile_model(model, Case("large steps", lambda: keras.optimizers.SGD(5.0)))
    freeze_sparsity(model)
    model.fit(*data(), batch_size=16, epochs=1, verbose=0)
    assert np.linalg.norm(kernels(model)[1], axis=0).max() <= 2.0 + 1e-5
    unfreeze_sparsity(model)
    assert not is_frozen(model)
    assert isinstance(model.layers[-1].kernel.constraint, keras.constraints.MaxNorm)


def test_after_unfreezing_zeros_change() -> None:
    model = small_model()
    masks = zero_some(model)
    compile_model(model, CASES[3])
    freeze_sparsity(model)
    model.fit(*data(), batch_size=16, epochs=1, verbose=0)
    unfreeze_sparsity(model)
    model.fit(*data(), batch_size=16, epochs=1, verbose=0)
    assert np.count_nonzero(kernels(model)[0][~masks[0]]) > 0


def test_a_kernel_that_was_made_of_zeros_stays_free() -> None:
    model = small_model()
    zero_some(model)
    model.layers[-1].kernel.assign(np.zeros_like(kernels(model)[1]))
    compile_model(model, CASES[3])
    freeze_sparsity(model)
    model.fit(*data(), batch_size=16, epochs=1, verbose=0)
    assert np.count_nonzero(kernels(model)[1]) > 0


def test_only_what_is_included_is_frozen() -> None:
    model = small_model()
    masks = zero_some(model)
    compile_model(model, CASES[3])
    freeze_sparsity(model, include="Conv2D")
    model.fit(*data(), batch_size=16, epochs=1, verbose=0)
    assert np.array_equal(kernels(model)[0] != 0, masks[0])
    assert np.count_nonzero(kernels(model)[1][~masks[1]]) > 0


def test_a_dense_model_has_nothing_to_freeze() -> None:
    with pytest.raises(InputError, match="has zeros to keep"):
        freeze_sparsity(small_model())


def test_a_model_that_is_not_built() -> None:
    with pytest.raises(InputError, match="is not built"):
        freeze_sparsity(keras.Sequential([keras.layers.Dense(3)]))
