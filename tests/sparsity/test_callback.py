"""The callback in plain `fit`: exact sparsity, at the right steps, and nothing left behind."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import edgeprune
from edgeprune import (
    ConstantSchedule,
    LinearSchedule,
    Movement,
    OneShotSchedule,
    PolynomialSchedule,
    PruningCallback,
)
from edgeprune.errors import InputError
from edgeprune.sparsity.criteria.table import CRITERIA
from tests.sparsity.optimizer_cases import CASES, compile_model, data, kernels, small_model

pytestmark = pytest.mark.keras

BATCH = 16  # 64 samples: 4 steps an epoch


def layerwise(*arguments: Any, **named: Any) -> PruningCallback:
    """A callback under which every kernel has the schedule's sparsity."""
    return PruningCallback(*arguments, scope="layer", **named)


def compiled() -> Any:
    model = small_model()
    compile_model(model, CASES[3])
    return model


def fit(model: Any, callback: Any, epochs: int = 3, **arguments: Any) -> Any:
    return model.fit(*data(), batch_size=BATCH, epochs=epochs, verbose=0, callbacks=[callback], **arguments)


def zeros(model: Any) -> list[int]:
    return [int(np.count_nonzero(kernel == 0)) for kernel in kernels(model)]


class Recorder(keras.callbacks.Callback):
    """Zeros of both kernels after every step."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[list[int]] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.seen.append(zeros(self.model))


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("scope", ["layer", "global"])
def test_every_criterion_reaches_the_exact_count(criterion: str, scope: str) -> None:
    model = compiled()
    callback = PruningCallback(LinearSchedule(0.75, begin=0.25, end=0.75), criterion, scope=scope, data=data())
    fit(model, callback)
    sizes = [72, 192]
    expected = [round(0.75 * size) for size in sizes]
    if scope == "layer":
        assert zeros(model) == expected
    assert sum(zeros(model)) == sum(expected)
    assert [layer.weights - layer.kept for layer in callback.layers] == zeros(model)


def test_all_weights_are_ranked_together_unless_asked() -> None:
    model = compiled()
    before = np.concatenate([kernel.ravel() for kernel in kernels(model)])
    model.optimizer.learning_rate = 0.0
    fit(model, PruningCallback(OneShotSchedule(0.5)), epochs=1)
    smallest = np.argsort(np.abs(before))[: before.size // 2]
    after = np.concatenate([kernel.ravel() for kernel in kernels(model)])
    assert np.array_equal(np.flatnonzero(after == 0), np.sort(smallest))


def test_masks_follow_the_ramp_step_by_step() -> None:
    model, recorder = compiled(), Recorder()
    callback = layerwise(LinearSchedule(0.5, begin=2, end=6, frequency=2))
    model.fit(*data(), batch_size=BATCH, epochs=2, verbose=0, callbacks=[callback, recorder])
    # updates before steps 2, 4 and 6 at sparsity 0, 0.25 and 0.5 of 72 and 192 weights
    assert recorder.seen == [[0, 0]] * 4 + [[18, 48]] * 2 + [[36, 96]] * 2


def test_history_has_the_sparsity() -> None:
    history = fit(compiled(), layerwise(OneShotSchedule(0.5, at=0.5)), epochs=2)
    assert history.history["sparsity"] == [0.0, 0.5]


def test_a_continued_training_is_where_the_uninterrupted_one_is(tmp_path: Path) -> None:
    def make() -> Any:
        return layerwise(PolynomialSchedule(0.8, begin=0.1, end=0.9, frequency=3))

    whole, part = compiled(), compiled()
    seen, first, second = Recorder(), Recorder(), Recorder()
    arguments: dict[str, Any] = {"batch_size": BATCH, "verbose": 0, "shuffle": False}
    whole.fit(*data(), epochs=4, callbacks=[make(), seen], **arguments)
    # the schedule is that of four epochs; the training is stopped after two
    stop = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: setattr(part, "stop_training", epoch == 1))
    part.fit(*data(), epochs=4, callbacks=[make(), first, stop], **arguments)
    part.save(tmp_path / "part.keras")
    loaded = keras.models.load_model(tmp_path / "part.keras")
    loaded.fit(*data(), epochs=4, initial_epoch=2, callbacks=[make(), second], **arguments)
    assert first.seen + second.seen == seen.seen
    for one, other in zip(kernels(whole), kernels(loaded), strict=True):
        np.testing.assert_array_equal(one, other)


def test_zeros_stay_in_a_later_fit_without_the_callback() -> None:
    model = compiled()
    fit(model, layerwise(OneShotSchedule(0.5)), epochs=1)
    before = [kernel == 0 for kernel in kernels(model)]
    model.fit(*data(), batch_size=BATCH, epochs=2, verbose=0)
    assert all(np.array_equal(kernel == 0, zero) for kernel, zero in zip(kernels(model), before, strict=True))
    edgeprune.unfreeze_sparsity(model)
    model.fit(*data(), batch_size=BATCH, epochs=1, verbose=0)
    assert sum(zeros(model)) == 0


def test_a_second_callback_goes_on_from_the_zeros_of_the_first() -> None:
    model = compiled()
    fit(model, layerwise(OneShotSchedule(0.5)), epochs=1)
    before = [kernel == 0 for kernel in kernels(model)]
    fit(model, layerwise(LinearSchedule(0.75, begin=0.3, end=0.6)), epochs=2)
    assert zeros(model) == [54, 144]
    assert all((kernel == 0)[zero].all() for kernel, zero in zip(kernels(model), before, strict=True))


def test_n_of_m_along_the_inputs_as_tflite_stores_them() -> None:
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential([keras.Input((6, 6, 8)), layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(3)])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    x, y = np.random.default_rng(0).normal(size=(64, 6, 6, 8)).astype("float32"), data()[1]
    model.fit(x, y, epochs=2, verbose=0, callbacks=[layerwise(LinearSchedule(0.9, begin=0, end=1.0), pattern="2:4")])
    conv, dense = np.asarray(model.layers[0].kernel), np.asarray(model.layers[-1].kernel)
    groups = np.moveaxis(conv, 2, -1).reshape(-1, 4)  # (h, w, in, out): groups of four inputs
    assert (np.count_nonzero(groups, axis=1) == 2).all()
    assert (np.count_nonzero(dense.T.reshape(-1, 4), axis=1) == 2).all()


def test_channels_are_masked_then_removed_with_the_same_outputs(tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    layers = keras.layers
    image = keras.Input((8, 8, 3))
    y = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(8, 3, padding="same")(image)))
    y = layers.Add()([y, layers.Conv2D(8, 3, padding="same")(y)])
    y = layers.ReLU()(layers.DepthwiseConv2D(3)(y))
    model = keras.Model(image, layers.Dense(3)(layers.Flatten()(layers.Conv2D(6, 1)(y))))
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    x = np.random.default_rng(0).normal(size=(64, 8, 8, 3)).astype("float32")
    callback = layerwise(LinearSchedule(0.5, begin=0.2, end=0.8), pattern="channels")
    model.fit(x, data()[1], epochs=3, verbose=0, callbacks=[callback])
    model.save(tmp_path / "masked.keras")
    smaller = edgeprune.remove_pruned_channels(keras.models.load_model(tmp_path / "masked.keras"))
    assert [smaller.layers[1].filters, smaller.layers[-3].filters] == [4, 3]
    np.testing.assert_allclose(smaller.predict(x, verbose=0), model.predict(x, verbose=0), atol=1e-5)


def test_layers_are_chosen_by_name_type_and_expression() -> None:
    model = compiled()
    fit(model, layerwise(0.5, include=keras.layers.Conv2D), epochs=1)
    assert zeros(model) == [36, 0]
    model = compiled()
    fit(model, layerwise(0.5, exclude="re:conv2d"), epochs=1)
    assert zeros(model) == [0, 96]
    model = compiled()
    fit(model, layerwise(0.5, layer_sparsity={"Dense": 0.25}), epochs=1)
    assert zeros(model) == [36, 48]


def test_a_depthwise_kernel_is_pruned_when_it_is_asked_for() -> None:
    model = keras.Sequential([keras.Input((6, 6, 2)), keras.layers.DepthwiseConv2D(3), keras.layers.Flatten()])
    model.add(keras.layers.Dense(3))
    compile_model(model, CASES[3])
    fit(model, layerwise(0.5), epochs=1)
    assert np.all(model.layers[0].kernel)
    fit(model, layerwise(0.5, include=["DepthwiseConv2D"]), epochs=1)
    assert np.count_nonzero(model.layers[0].kernel) == 9


def test_movement_brings_back_a_weight_with_the_value_it_had() -> None:
    """Two weights (1, 2) that don't move by themselves, one sample a step, squared error: g = 2 (p - t) x."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False)])
    model.layers[0].kernel.assign([[1.0], [2.0]])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    x = np.array([[1.0, 0.0]] + [[-1.0, 0.0]] * 3, "float32")
    y = np.array([[0.0]] + [[-5.0]] * 3, "float32")
    seen = []
    watch = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(np.asarray(model.layers[0].kernel).ravel().tolist())
    )
    callback = layerwise(ConstantSchedule(0.5, begin=1 / 4, frequency=1), Movement(), min_weights=1)
    model.fit(x, y, batch_size=1, shuffle=False, epochs=1, verbose=0, callbacks=[callback, watch])
    # step 0: p = 1, g = 2 for w0, so its score is -2 and that of w1 is 0: w0 goes.
    # step 1: p = 0, g = 2 (0 + 5) (-1) = -10; w0 was 1 when it went, so its score grows to 8: it is back, w1 goes.
    assert seen == [[1.0, 2.0], [0.0, 2.0], [1.0, 0.0], [1.0, 0.0]]


def test_the_optimizer_and_the_model_are_left_as_they_were() -> None:
    model = compiled()
    model.optimizer.build(model.trainable_variables)
    apply = model.optimizer.apply
    config = model.to_json()
    fit(model, layerwise(LinearSchedule(0.5, begin=0.3, end=0.8), "movement"), epochs=1)
    assert model.optimizer.apply == apply
    assert "apply" not in vars(model.optimizer)
    assert model.to_json() == config
    assert type(model) is keras.Sequential


def test_a_fit_that_fails_leaves_a_model_that_trains_on() -> None:
    class Fail(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            raise KeyboardInterrupt

    model = compiled()
    callback = layerwise(LinearSchedule(0.5, begin=0.3, end=0.8), "movement")
    with pytest.raises(KeyboardInterrupt):
        model.fit(*data(), batch_size=BATCH, verbose=0, callbacks=[callback, Fail()])
    fit(model, callback, epochs=1)
    assert zeros(model) == [36, 96]
    assert "apply" not in vars(model.optimizer)


def test_several_steps_per_execution_miss_no_update() -> None:
    model = small_model()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, steps_per_execution=3)
    fit(model, layerwise(LinearSchedule(0.5, begin=0.5, end=1.0)), epochs=3)
    assert zeros(model) == [36, 96]


def test_csv_has_a_row_an_epoch_and_goes_on(tmp_path: Path) -> None:
    model, path = compiled(), tmp_path / "sparsity.csv"
    fit(model, layerwise(OneShotSchedule(0.5, at=0.5), csv=path), epochs=2)
    fit(model, layerwise(OneShotSchedule(0.75, at=0.5), csv=path), epochs=4, initial_epoch=2)
    rows = list(csv.DictReader(path.open()))
    assert [row["epoch"] for row in rows] == ["0", "1", "2", "3"]
    assert [row["sparsity"] for row in rows] == ["0.000000", "0.500000", "0.750000", "0.750000"]
    assert len(rows[0]) == 4 + len(kernels(model))


def test_a_file_that_is_no_log_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="is no sparsity log"):
        fit(compiled(), layerwise(0.5, csv=path), epochs=1)
    assert path.read_text() == "a,b\n1,2\n"


def test_tensorboard_gets_a_scalar_per_layer(tmp_path: Path) -> None:
    from tensorflow.python.summary.summary_iterator import summary_iterator

    fit(compiled(), layerwise(OneShotSchedule(0.5, at=0.5), tensorboard=tmp_path), epochs=2)
    (file,) = tmp_path.iterdir()
    tags = {value.tag for event in summary_iterator(str(file)) for value in event.summary.value}
    assert {"sparsity/total", "sparsity/target"} < tags
    assert len(tags) == 4


def test_summary_is_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    callback = layerwise(0.5)
    fit(compiled(), callback, epochs=1)
    callback.summary()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["weights", "of", "count", "kept", "sparsity"]
    assert lines[-1].split() == ["total", "264", "132", "50.0%"]


def test_masks_take_one_byte_a_weight() -> None:
    callback = layerwise(0.5)
    fit(compiled(), callback, epochs=1)
    assert callback.pruner is not None
    assert [mask.dtype.size for mask in callback.pruner.masks.masks] == [1, 1]


def test_two_callbacks_that_learn_from_gradients_both_see_them() -> None:
    model = compiled()
    ramp = LinearSchedule(0.5, begin=0.2, end=0.8)
    callbacks = [layerwise(ramp, "taylor", include="Conv2D"), layerwise(ramp, "movement", include="Dense")]
    model.fit(*data(), batch_size=BATCH, epochs=2, verbose=0, callbacks=callbacks)
    assert zeros(model) == [36, 96]
    assert "apply" not in vars(model.optimizer)


def test_ema_of_another_models_optimizer_keeps_zeros() -> None:
    base = compiled()
    fit(base, layerwise(0.5), epochs=1)
    larger = keras.Sequential([keras.Input((6, 6, 2)), base, keras.layers.Dense(3)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    larger.compile(keras.optimizers.Adam(0.01, use_ema=True), loss)
    larger.fit(*data(), batch_size=BATCH, epochs=2, verbose=0)
    assert zeros(base) == [36, 96]


def test_paths_are_the_same_after_loading(tmp_path: Path) -> None:
    model, path = compiled(), tmp_path / "sparsity.csv"
    fit(model, PruningCallback(OneShotSchedule(0.5), csv=path), epochs=1)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    fit(loaded, PruningCallback(OneShotSchedule(0.5), csv=path), epochs=2, initial_epoch=1)
    assert [row["epoch"] for row in csv.DictReader(path.open())] == ["0", "1"]


def test_stopping_before_the_ramp_ends_is_said() -> None:
    model = compiled()
    stop = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: setattr(model, "stop_training", True))
    callbacks = [PruningCallback(LinearSchedule(0.5, begin=0.2, end=0.8)), stop]
    with pytest.warns(UserWarning, match=r"the sparsity is .* instead of the 50.0%"):
        model.fit(*data(), batch_size=BATCH, epochs=4, verbose=0, callbacks=callbacks)


def test_a_criterion_that_saw_no_gradient_is_said() -> None:
    class Alone(keras.Sequential):
        """Trains with an optimizer of its own, so that the compiled one applies nothing."""

        def train_step(self, batch: Any) -> Any:
            return {"loss": keras.ops.mean(self(batch[0]))}

    model = Alone([keras.Input((6, 6, 2)), *small_model().layers])
    compile_model(model, CASES[3])
    with pytest.warns(UserWarning, match="saw no gradient"):
        fit(model, PruningCallback(LinearSchedule(0.5, begin=0.2, end=0.8), "movement"), epochs=1)


def test_min_weights_that_hold_weights_back_are_said() -> None:
    with pytest.warns(UserWarning, match="min_weights=60 held"):
        fit(compiled(), layerwise(0.5, min_weights=60), epochs=1)


def test_conv3d_is_sparse_along_what_tflite_stores_innermost() -> None:
    model = keras.Sequential([keras.Input((4, 4, 4, 3)), keras.layers.Conv3D(8, 2), keras.layers.Flatten()])
    model.add(keras.layers.Dense(3))
    compile_model(model, CASES[3])
    x = np.random.default_rng(0).normal(size=(64, 4, 4, 4, 3)).astype("float32")
    model.fit(x, data()[1], epochs=1, verbose=0, callbacks=[PruningCallback(0.5, pattern="2:4", include="Conv3D")])
    groups = np.asarray(model.layers[0].kernel).reshape(-1, 4)  # (d, h, w, in, out), as the file has it
    assert (np.count_nonzero(groups, axis=1) == 2).all()
