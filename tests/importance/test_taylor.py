"""First-order Taylor importance by hand, and on the forms models and data come in."""

from __future__ import annotations

import numpy as np
import pytest

from edgeprune.errors import InputError
from edgeprune.importance.table import score_units
from edgeprune.pipeline.analysis import analyse
from edgeprune.pipeline.channels import gradient_options
from edgeprune.task.options import TaskOptions

pytestmark = pytest.mark.keras


def column(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)[:, None]


def linear_model(bias: bool = False, **options):
    """x -> two units with weights 1 and -2 -> one output with weights 3 and 1: p = 3x - 2x = x."""
    import keras

    inputs = keras.Input((1,))
    hidden = keras.layers.Dense(2, use_bias=bias, name="hidden", **options)(inputs)
    model = keras.Model(inputs, keras.layers.Dense(1, use_bias=False, dtype="float32")(hidden))
    kernels = [np.array([[1.0, -2.0]]), np.array([[3.0], [1.0]])]
    model.set_weights([kernels[0], np.zeros(2), kernels[1]] if bias else kernels)
    return model


def squared_error(labels, predictions):
    import keras

    return keras.ops.mean((predictions - labels) ** 2)


def taylor(model, batches, loss=squared_error) -> list[np.ndarray]:
    batches = list(batches)
    return list(analyse(model).scores("taylor", model=model, loss=loss, batches=batches, n_batches=len(batches)))


def test_by_hand():
    """dL/dp = 2p for labels 0, so w * dL/dw = 2x * (1 * 3x) and 2x * (-2 * 1x): 6x^2 and -4x^2, averaged over a batch.
    Batches of x = 1 and of x = (1, 2): (6, -4) and (15, -10); squared (36, 16) and (225, 100)."""
    batches = [(column(1), column(0)), (column(1, 2), column(0, 0))]
    (found,) = taylor(linear_model(), batches)
    np.testing.assert_allclose(found, [(36 + 225) / 2, (16 + 100) / 2], rtol=1e-5)


def test_biases_are_added_before_squaring():
    """Biases 0.5 and 1: p = 3(x + 0.5) + (-2x + 1) = x + 2.5. At x = 1, label 0: dL/dp = 7; the kernel gives 7 * 3 and
    7 * -2, the biases 7 * 3 * 0.5 and 7 * 1 * 1: 31.5 and -7."""
    model = linear_model(bias=True)
    model.get_layer("hidden").bias.assign([0.5, 1.0])
    (found,) = taylor(model, [(column(1), column(0))])
    np.testing.assert_allclose(found, [31.5**2, 7.0**2], rtol=1e-5)


def test_it_is_the_change_of_the_loss_to_first_order():
    """A unit that hardly matters: removing it (both of its weights' product) changes the loss by the score's root."""
    import keras

    model = linear_model()
    model.set_weights([np.array([[1.0, 1e-3]]), np.array([[3.0], [1.0]])])
    x, y = column(1, -2, 0.5), column(2, 1, 0)
    (found,) = taylor(model, [(x, y)])
    before = float(keras.ops.mean((model(x) - y) ** 2))
    model.set_weights([np.array([[1.0, 0.0]]), np.array([[3.0], [1.0]])])
    after = float(keras.ops.mean((model(x) - y) ** 2))
    assert abs(after - before) == pytest.approx(np.sqrt(found[1]), rel=1e-2)


def test_frozen_layers_get_no_score():
    model = linear_model()
    model.get_layer("hidden").trainable = False
    assert taylor(model, [(column(1), column(0))])[0].tolist() == [0.0, 0.0]


def test_dropout_is_off_and_batchnorm_uses_its_statistics():
    """In training mode one sample alone would be normalized to zero."""
    import keras

    inputs = keras.Input((1,))
    hidden = keras.layers.Dense(2, use_bias=False)(inputs)
    hidden = keras.layers.Dropout(0.5)(keras.layers.BatchNormalization(epsilon=0.0)(hidden))
    model = keras.Model(inputs, keras.layers.Dense(1, use_bias=False)(hidden))
    model.layers[1].set_weights([np.array([[1.0, -2.0]])])
    model.layers[-1].set_weights([np.array([[3.0], [1.0]])])
    # gamma rides on the units: the same product once more, beta is 0
    (found,) = taylor(model, [(column(1), column(0))])
    np.testing.assert_allclose(found, [12.0**2, 8.0**2], rtol=1e-5)


def test_the_states_of_the_model_stay(tmp_path):
    model = linear_model()
    before = [np.asarray(value).copy() for value in model.variables]
    taylor(model, [(column(1), column(0))])
    for value, old in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(np.asarray(value), old)


def test_mixed_precision_agrees_with_float32():
    batches = [(column(1), column(0)), (column(1, 2), column(0, 0))]
    (half,) = taylor(linear_model(dtype="mixed_float16"), batches)
    np.testing.assert_allclose(half, [130.5, 58.0], rtol=1e-2)


def test_small_half_precision_gradients_do_not_vanish():
    """Means over 64 x 64 positions and a small loss: gradients of 1e-8 per position, less than float16 can hold."""
    import keras

    def pooled(dtype: str):
        inputs = keras.Input((64, 64, 1))
        made = keras.layers.Conv2D(2, 1, use_bias=False, dtype=dtype, name="hidden")(inputs)
        made = keras.layers.GlobalAveragePooling2D(dtype=dtype)(made)
        model = keras.Model(inputs, keras.layers.Dense(1, use_bias=False, dtype="float32")(made))
        model.set_weights([np.array([[[[1.0, -2.0]]]]), np.array([[3.0], [1.0]])])
        return model

    batch = np.ones((1, 64, 64, 1), dtype=np.float32), column(0)

    def small(labels, predictions):
        return squared_error(labels, predictions) * 1e-5

    (half,), (single,) = taylor(pooled("mixed_float16"), [batch], small), taylor(pooled("float32"), [batch], small)
    np.testing.assert_allclose(single, [6e-5**2, 4e-5**2], rtol=1e-4)
    np.testing.assert_allclose(half, single, rtol=0.1)


def test_no_data_no_batches_and_no_numbers():
    model = linear_model()
    weights = analyse(model).unit_weights()
    with pytest.raises(InputError, match='the criterion "taylor" needs data; give --data'):
        score_units("taylor", weights, 3, model=model, loss=squared_error, batches=None)
    with pytest.raises(InputError, match='the criterion "taylor" got no batches of data'):
        score_units("taylor", weights, 3, model=model, loss=squared_error, batches=iter(()))
    batch = column(np.nan), column(0)
    with pytest.raises(InputError, match="gradients of the loss are not finite"):
        score_units("taylor", weights, 3, model=model, loss=squared_error, batches=[batch])


def options(model, data, **task):
    return gradient_options(model, data, TaskOptions(**task), batch_size=4, seed=0)


def two_heads(structure):
    """Two inputs, a shared hidden layer, and two outputs in the given structure (list or dict)."""
    import keras

    inputs = {name: keras.Input((3,), name=name) for name in ("left", "right")}
    shared = keras.layers.Dense(4, activation="relu", name="shared")
    joined = keras.layers.Concatenate()([shared(inputs["left"]), shared(inputs["right"])])
    outputs = {
        "kind": keras.layers.Dense(3, activation="softmax", name="kind")(joined),
        "size": keras.layers.Dense(1, name="size")(joined),
    }
    if structure is list:
        return keras.Model(list(inputs.values()), list(outputs.values()))
    return keras.Model(inputs, outputs)


@pytest.mark.parametrize("structure", [list, dict])
def test_several_inputs_and_outputs_against_keras_own_gradient(structure):
    """Both losses count: w * dL/dw by one tape over the loss written out, on all data as one batch."""
    import keras
    import tensorflow as tf

    model = two_heads(structure)
    rng = np.random.default_rng(0)
    x = {name: rng.normal(size=(12, 3)).astype(np.float32) for name in ("left", "right")}
    y = {"kind": rng.integers(0, 3, 12), "size": rng.normal(size=(12, 1)).astype(np.float32)}
    prepared = gradient_options(model, ((x, y), (x, y)), TaskOptions(), batch_size=12, seed=0)
    (found,) = analyse(model).scores("taylor", **prepared)

    kernel, bias = model.get_layer("shared").kernel, model.get_layer("shared").bias
    with tf.GradientTape() as tape:
        outputs = model(x if structure is dict else list(x.values()))
        kind, size = (outputs["kind"], outputs["size"]) if structure is dict else outputs
        kind_loss = keras.ops.mean(keras.losses.sparse_categorical_crossentropy(y["kind"], kind))
        loss = kind_loss + keras.ops.mean((size - y["size"]) ** 2)
    by_kernel, by_bias = tape.gradient(loss, [kernel.value, bias.value])
    expected = (np.asarray(kernel * by_kernel).sum(0) + np.asarray(bias * by_bias)) ** 2
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-12)


def test_integer_labels_and_images():
    import keras

    model = keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            keras.layers.Conv2D(5, 3),
            keras.layers.Flatten(),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    x = np.random.default_rng(0).integers(0, 255, (20, 6, 6, 1), dtype=np.uint8)
    found = analyse(model).scores("taylor", **options(model, (x, np.arange(20) % 3)))
    assert [own.shape for own in found] == [(5,)]
    assert (found[0] > 0).all()


def test_at_most_2048_samples_are_scored():
    x = column(*np.linspace(-1, 1, 5000))
    prepared = gradient_options(linear_model(), (x, x), TaskOptions(), batch_size=32, seed=0)
    sizes = [len(part) for part, _ in prepared["batches"]]
    assert (sum(sizes), len(sizes), prepared["n_batches"]) == (2048, 64, 64)


def test_weight_decay_is_no_importance():
    """Labels are met exactly: the data have no gradient, only the regularizer has."""
    import keras

    model = linear_model(kernel_regularizer=keras.regularizers.L2(0.1))
    x = column(*np.linspace(-1, 1, 12))
    (found,) = analyse(model).scores("taylor", **options(model, (x, x), loss="mse"))
    np.testing.assert_allclose(found, [0.0, 0.0], atol=1e-12)
