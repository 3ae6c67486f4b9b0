"""`prune_channels`: which channels go, what stays of the model, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from edgeprune.errors import InputError
from edgeprune.pipeline.channels import prune_channels

pytestmark = pytest.mark.keras


def sequential(compiled: bool = False):
    """(8, 8, 3) -> conv 6 -> conv 10 -> flatten -> dense 12 -> 4 classes."""
    import keras

    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(6, 3, activation="relu", name="first"),
            layers.Conv2D(10, 3, strides=2, activation="relu", name="second"),
            layers.Flatten(),
            layers.Dense(12, activation="relu", name="hidden"),
            layers.Dense(4, activation="softmax", name="classes"),
        ]
    )
    if compiled:
        model.compile(
            optimizer=keras.optimizers.Adam(0.004), loss="sparse_categorical_crossentropy", metrics=["accuracy"]
        )
    return model


def residual():
    """A stem of 8 channels, a bottleneck of 4 whose output is added to the stem's, pooling, 3 classes."""
    import keras

    layers = keras.layers
    inputs = keras.Input((8, 8, 3))
    stem = layers.Conv2D(8, 3, padding="same", use_bias=False, name="stem")(inputs)
    stem = layers.ReLU()(layers.BatchNormalization(name="stem_norm")(stem))
    inner = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(4, 1, use_bias=False, name="narrow")(stem)))
    inner = layers.BatchNormalization()(layers.Conv2D(8, 1, use_bias=False, name="wide")(inner))
    joined = layers.ReLU()(layers.Add()([stem, inner]))
    outputs = layers.Dense(3, activation="softmax", name="classes")(layers.GlobalAveragePooling2D()(joined))
    return keras.Model(inputs, outputs)


def images(count: int = 12):
    return np.random.default_rng(0).random((count, 8, 8, 3), dtype=np.float32)


def labelled(count: int = 12):
    return images(count), np.arange(count) % 4


def shapes(model) -> dict[str, tuple[int, ...]]:
    return {layer.name: tuple(layer.kernel.shape) for layer in model.layers if hasattr(layer, "kernel")}


def assert_same_weights(left, right) -> None:
    for mine, theirs in zip(left.get_weights(), right.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_half_of_a_sequential_model():
    """6 -> 3, 10 -> 5, 12 -> 6; the dense layer reads 2 x 2 positions of 5 channels. Inputs and classes stay."""
    model = sequential()
    smaller = prune_channels(model, 0.5)
    assert type(smaller) is type(model)
    assert shapes(smaller) == {
        "first": (3, 3, 3, 3),
        "second": (3, 3, 3, 5),
        "hidden": (2 * 2 * 5, 6),
        "classes": (6, 4),
    }
    assert smaller.input_shape == model.input_shape
    assert np.asarray(smaller(images())).shape == (12, 4)


def test_half_of_a_residual_model():
    """The stem and the end of the bottleneck are added: they lose the same 4 of 8 channels."""
    smaller = prune_channels(residual(), 0.5)
    assert shapes(smaller) == {
        "stem": (3, 3, 3, 4),
        "narrow": (1, 1, 4, 2),
        "wide": (1, 1, 2, 4),
        "classes": (4, 3),
    }
    assert smaller.get_layer("stem_norm").gamma.shape == (4,)


def test_the_filters_with_the_least_weight_go():
    """Filters 1, 3 and 5 of the first layer are scaled down; those that stay keep their values and their order."""
    model = sequential()
    kernel, bias = model.get_layer("first").get_weights()
    kernel[..., [1, 3, 5]] *= 0.01
    model.get_layer("first").set_weights([kernel, np.arange(6.0)])
    first, second = (prune_channels(model, 0.5).get_layer(name) for name in ("first", "second"))
    np.testing.assert_array_equal(np.asarray(first.kernel), kernel[..., [0, 2, 4]])
    np.testing.assert_array_equal(np.asarray(first.bias), [0.0, 2.0, 4.0])
    of_second = np.asarray(model.get_layer("second").kernel)
    kept = np.sort(np.argsort(np.abs(of_second).sum((0, 1, 2)))[5:])
    np.testing.assert_array_equal(np.asarray(second.kernel), of_second[:, :, [0, 2, 4]][..., kept])


@pytest.mark.parametrize("build", [sequential, residual])
def test_channels_that_are_dead_take_nothing_with_them(build):
    """Half of the channels of every layer make zeros: without them the outputs are the same."""
    import keras

    model = build()
    for layer in model.layers[:-1]:
        if hasattr(layer, "kernel"):
            kernel = np.asarray(layer.kernel).copy()
            kernel[..., ::2] = 0.0
            layer.kernel.assign(kernel)
    smaller = prune_channels(model, 0.5)
    assert smaller.count_params() < 0.6 * model.count_params()
    np.testing.assert_allclose(np.asarray(smaller(images())), np.asarray(model(images())), atol=1e-6)
    assert isinstance(smaller, keras.Model)


@pytest.mark.parametrize("build", [sequential, residual])
@pytest.mark.parametrize("multiple", [1, 8])
def test_ratio_0_gives_an_equal_model(build, multiple):
    model = build()
    same = prune_channels(model, 0, multiple=multiple)
    assert same is not model
    assert_same_weights(same, model)
    np.testing.assert_array_equal(np.asarray(same(images())), np.asarray(model(images())))


def test_counts_are_multiples():
    """Of 6, 10 and 12 channels half would go: in multiples of 4 these are 4, 4 (or 8: as near; the larger) and 8."""
    smaller = prune_channels(sequential(), 0.5, multiple=4)
    assert [shape[-1] for shape in shapes(smaller).values()] == [4, 4, 8, 4]


def test_numbers_from_numpy_are_numbers():
    assert (
        shapes(prune_channels(sequential(), np.float32(0.5), multiple=np.int64(1), seed=np.int64(3)))["first"][-1] == 3
    )


def test_the_compiled_state_is_kept():
    import keras

    model = sequential(compiled=True)
    smaller = prune_channels(model, 0.5)
    assert isinstance(smaller.optimizer, keras.optimizers.Adam)
    assert smaller.optimizer is not model.optimizer
    assert float(np.asarray(smaller.optimizer.learning_rate)) == pytest.approx(0.004)
    assert smaller.loss == "sparse_categorical_crossentropy"
    x, y = labelled()
    loss, accuracy = smaller.evaluate(x, y, verbose=0)
    predicted = smaller.predict(x, verbose=0)
    assert accuracy == pytest.approx((predicted.argmax(1) == y).mean())
    assert loss == pytest.approx(-np.log(predicted[np.arange(12), y]).mean(), rel=1e-4)
    smaller.fit(x, y, verbose=0)


def test_an_uncompiled_model_stays_uncompiled():
    assert not prune_channels(sequential(), 0.5).compiled


@pytest.mark.parametrize("criterion", ["l1", "taylor", "apoz"])
def test_the_given_model_is_not_changed(criterion):
    """Weights, optimizer state, compiled state and what it predicts."""
    model = sequential(compiled=True)
    x, y = labelled()
    model.fit(x, y, verbose=0)
    before = [(v, np.asarray(v).copy()) for v in (*model.variables, *model.optimizer.variables)]
    optimizer, config, outputs = model.optimizer, model.get_compile_config(), model.predict(x, verbose=0)
    prune_channels(model, 0.5, criterion, data=(x, y))
    for variable, value in before:
        np.testing.assert_array_equal(np.asarray(variable), value, err_msg=variable.path)
    assert model.optimizer is optimizer
    assert model.get_compile_config() == config
    np.testing.assert_array_equal(model.predict(x, verbose=0), outputs)
    model.fit(x, y, verbose=0)


@pytest.mark.parametrize("criterion", ["random", "taylor"])
def test_the_same_seed_gives_the_same_model(criterion):
    import keras

    model = sequential()
    first = prune_channels(model, 0.5, criterion, data=labelled(40), seed=3)
    keras.utils.set_random_seed(99)
    np.random.default_rng(5)
    assert_same_weights(prune_channels(model, 0.5, criterion, data=labelled(40), seed=3), first)


def test_another_seed_draws_other_channels():
    model = sequential()
    found = {prune_channels(model, 0.5, "random", seed=seed).get_weights()[0].tobytes() for seed in range(5)}
    assert len(found) > 1


def test_taylor_keeps_what_the_loss_needs():
    """Labels depend on hidden unit 0 alone: the others may go although their weights are larger."""
    import keras

    model = keras.Sequential(
        [keras.Input((1,)), keras.layers.Dense(4, use_bias=False), keras.layers.Dense(1, use_bias=False)]
    )
    model.set_weights([np.array([[0.5, 9.0, 9.0, 9.0]]), np.array([[1.0], [0.0], [0.0], [0.0]])])
    x = np.linspace(-1, 1, 20, dtype=np.float32)[:, None]
    by_loss = prune_channels(model, 0.75, "taylor", data=(x, x), loss="mse")
    by_size = prune_channels(model, 0.75, "l1")
    assert by_loss.get_weights()[0].tolist() == [[0.5]]
    assert by_size.get_weights()[0].tolist() == [[9.0]]


def test_data_may_be_one_sample_per_class_or_a_dataset():
    """No sample is set aside for validation: nothing is trained. A batch of all samples has one gradient."""
    import tensorflow as tf

    model = sequential()
    x, y = labelled(4)
    dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(4)
    by_arrays, by_dataset = (prune_channels(model, 0.5, "taylor", data=data) for data in ((x, y), dataset))
    assert_same_weights(by_arrays, by_dataset)


@pytest.mark.parametrize("ratio", [1, 1.0, -0.1, float("nan"), float("inf"), "0.5", None, True])
def test_a_ratio_out_of_range_is_refused(ratio):
    with pytest.raises(InputError, match=r"ratio must be a number with 0 <= ratio < 1\. Received: ratio="):
        prune_channels(sequential(), ratio)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"multiple": 0}, r"multiple must be a whole number of at least 1\. Received: multiple=0"),
        ({"multiple": 8.0}, r"multiple must be a whole number of at least 1\. Received: multiple=8\.0"),
        ({"multiple": True}, "multiple must be a whole number"),
        ({"batch_size": 0}, r"batch_size must be a whole number of at least 1\. Received: batch_size=0"),
        ({"seed": -1}, r"seed must be a whole number of at least 0\. Received: seed=-1"),
        ({"criterion": "L1"}, 'unknown criterion "L1"; '),
        ({"criterion": "taylro"}, 'unknown criterion "taylro"; did you mean "taylor"'),
        ({"criterion": "taylor"}, "this criterion needs data"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(InputError, match=message) as caught:
        prune_channels(sequential(), 0.5, **options)
    assert "\n" not in str(caught.value)


def test_labels_that_do_not_fit_are_refused():
    with pytest.raises(InputError):
        prune_channels(sequential(), 0.5, "taylor", data=(images(), np.full(12, 7)))


def test_what_is_no_model_or_has_no_graph_is_refused():
    import keras

    class Subclassed(keras.Model):
        def call(self, inputs):
            return inputs

    with pytest.raises(InputError, match="expected a Keras 3 model, received str"):
        prune_channels("model.keras", 0.5)
    with pytest.raises(InputError, match="not a functional or built Sequential model"):
        prune_channels(Subclassed(), 0.5)
    with pytest.raises(InputError, match="not a functional or built Sequential model"):
        prune_channels(keras.Sequential([keras.layers.Dense(3)]), 0.5)
