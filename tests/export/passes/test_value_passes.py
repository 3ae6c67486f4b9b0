"""The passes that move numbers: constants, preprocessing, norms, heads, activations. All are exact up to rounding."""

from __future__ import annotations

import numpy as np
import pytest
from pass_oracle import assert_same, images, of_class, randomize, reasons, run_alone

from edgeprune.export.passes import (
    dense_head,
    fold_batchnorm,
    fold_preprocessing,
    keep_pooled_rank,
    prelu_by_relu,
    reshape_constants,
    swish_by_tanh,
)

pytestmark = pytest.mark.keras


def model_of(body, size=8, seed=0):
    """image -> 1x1 convolution to 6 channels -> body -> global pooling."""
    import keras

    layers = keras.layers
    image = keras.Input((size, size, 3), name="image")
    x = body(layers.Conv2D(6, 1, name="before")(image))
    pooled = layers.GlobalAveragePooling2D()(x) if len(x.shape) == 4 else x
    return randomize(keras.Model(image, pooled), seed)


def constant_operands(model):
    """Operations in the graph that read a constant beside a tensor: (name, shape of the constant)."""
    import keras

    found = []
    for operation in model.operations:
        if not isinstance(operation, keras.layers.Layer):
            for value in keras.tree.flatten(operation._inbound_nodes[0].arguments.args):
                if not isinstance(value, keras.KerasTensor):
                    found.append((type(operation).__name__, np.shape(value)))
    return found


def left_multiplied(x):
    import keras

    return keras.ops.multiply(VECTOR, x)


VECTOR = np.array([1.0, -2.0, 0.5, 3.0, 0.25, -1.5], np.float32)
ARITHMETIC = {
    "add": lambda x: x + 3.0,
    "add vector": lambda x: x + VECTOR,
    "multiply": lambda x: x * 0.3,
    "multiply from the left": lambda x: left_multiplied(x),
    "subtract": lambda x: x - 0.7,
    "subtract from": lambda x: 2.0 - x,
    "divide": lambda x: x / 6.0,
    "rank 4 second": lambda x: x * VECTOR.reshape(1, 1, 1, 6),
}


@pytest.mark.parametrize("name", ARITHMETIC)
def test_constants_go_into_the_convolution_in_front(name):
    model = model_of(lambda x: ARITHMETIC[name](x))
    rewritten, report = run_alone(reshape_constants, model)
    assert len(report.changed) == 1
    assert_same(model, rewritten, tolerance=2e-6)
    assert constant_operands(rewritten) == []
    assert [layer.name for layer in rewritten.layers] == [layer.name for layer in model.layers]


@pytest.mark.parametrize("name", ARITHMETIC)
def test_constants_beside_other_images_become_a_diagonal_convolution(name):
    """The value is read twice, so it can't be changed where it is made."""
    import keras

    model = model_of(lambda x: keras.layers.Add()([x, ARITHMETIC[name](keras.ops.tanh(x))]))
    rewritten, report = run_alone(reshape_constants, model)
    assert len(report.changed) == 1
    assert_same(model, rewritten, tolerance=2e-6)
    assert constant_operands(rewritten) == []
    kernel = np.asarray(of_class(rewritten, "Conv2D")[-1].kernel)
    assert kernel.shape == (1, 1, 6, 6)
    assert np.count_nonzero(kernel) == 6


@pytest.mark.parametrize("name", ARITHMETIC)
def test_constants_beside_pooled_values_get_rank_4(name):
    import keras

    def body(x):
        pooled = keras.layers.GlobalAveragePooling2D(keepdims=True)(x)
        return keras.layers.Multiply()([x, ARITHMETIC[name](pooled)])

    model = model_of(body)
    rewritten, _ = run_alone(reshape_constants, model)
    assert_same(model, rewritten, tolerance=2e-6)
    shapes = [shape for _, shape in constant_operands(rewritten)]
    assert shapes
    assert all(shape in ((1, 1, 1, 1), (1, 1, 1, 6)) for shape in shapes)


def test_constants_that_differ_from_place_to_place_stay():
    places = np.random.default_rng(0).normal(size=(8, 8, 1)).astype(np.float32)
    model = model_of(lambda x: x * places)
    rewritten, report = run_alone(reshape_constants, model)
    assert report.changed == ()
    assert "(8, 8, 1) differs from position to position" in next(iter(reasons(report).values()))
    assert_same(model, rewritten)


def hard_sigmoids():
    import keras

    layers = keras.layers
    return {
        "layer": layers.Activation("hard_sigmoid"),
        "in a convolution": layers.Conv2D(6, 1, activation="hard_sigmoid"),
        "in a depthwise one without bias": layers.DepthwiseConv2D(3, activation="hard_sigmoid", use_bias=False),
        "operation": keras.ops.hard_sigmoid,
        "rescaled": lambda x: layers.Rescaling(1 / 6, 0.5)(layers.ReLU(6.0)(x)),
    }


@pytest.mark.parametrize(
    "name", ["layer", "in a convolution", "in a depthwise one without bias", "operation", "rescaled"]
)
def test_hard_sigmoids_are_written_out(name):
    model = model_of(hard_sigmoids()[name])
    rewritten, report = run_alone(reshape_constants, model)
    assert len(report.changed) == 1
    assert constant_operands(rewritten) == []
    assert_same(model, rewritten, images(model) * 6, tolerance=2e-6)
    # trained and predicted in graph mode, too, where TensorFlow's optimizer rewrites once more
    np.testing.assert_allclose(rewritten.predict(images(model), verbose=0), rewritten(images(model)), rtol=1e-5)


def preprocessed(*preprocessing, padding="same"):
    import keras

    layers = keras.layers
    image = x = keras.Input((9, 9, 3), name="image")
    for layer in preprocessing:
        x = layer(x)
    if padding == "valid":
        x = layers.ZeroPadding2D(1)(x)
    x = layers.Conv2D(4, 3, strides=2, padding=padding, name="stem")(x)
    return randomize(keras.Model(image, layers.Flatten()(x)))


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_scale_and_offset_are_folded_exactly_at_borders_too(padding):
    import keras

    layers = keras.layers
    chain = [
        layers.Rescaling(1 / 127.5, -1.0),
        layers.Normalization(mean=[0.5, 0.4, 0.3], variance=[0.2, 0.3, 0.5]),
        layers.Rescaling([1.0, 2.0, 0.5]),
    ]
    model = preprocessed(*chain, padding=padding)
    rewritten, report = run_alone(fold_preprocessing, model)
    assert report.changed == tuple(layer.name for layer in chain)
    assert_same(model, rewritten, (images(model) + 1) * 127.5, tolerance=3e-6)
    assert constant_operands(rewritten) == [("Add", (1, 1, 1, 3))]


def test_a_scale_alone_leaves_nothing_behind():
    import keras

    model = preprocessed(keras.layers.Rescaling(1 / 255))
    rewritten, _ = run_alone(fold_preprocessing, model)
    assert_same(model, rewritten, (images(model) + 1) * 127.5, tolerance=3e-6)
    assert [type(operation).__name__ for operation in rewritten.operations] == ["InputLayer", "Conv2D", "Flatten"]


def test_preprocessing_that_can_not_be_folded_is_named():
    import keras

    layers = keras.layers
    image = keras.Input((8, 8, 3), dtype="uint8")
    x = layers.Rescaling(1 / 255, name="scale")(image)
    bytes_in = keras.Model(image, layers.Flatten()(layers.Conv2D(2, 3)(x)))
    image = keras.Input((8, 8, 3))
    x = layers.Rescaling(1 / 255, name="scale")(image)
    pooled = keras.Model(image, layers.MaxPooling2D(name="pool")(x))
    twice = keras.Model(image, layers.Add()([layers.Conv2D(3, 1)(x), x]))
    zero = preprocessed(layers.Rescaling(0.0, 1.0, name="scale"))
    for model, reason in ((bytes_in, "uint8"), (pooled, '"pool"'), (twice, "more than once"), (zero, "zero or not")):
        _, report = run_alone(fold_preprocessing, model)
        assert report.changed == ()
        assert reason in reasons(report)["scale"]


def norms():
    import keras

    layers = keras.layers
    return {
        "convolution": lambda: [layers.Conv2D(6, 3, use_bias=False, name="kernel")],
        "biased": lambda: [layers.Conv2D(6, 3, name="kernel")],
        "depthwise": lambda: [layers.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False, name="kernel")],
        "dense": lambda: [layers.GlobalAveragePooling2D(), layers.Dense(5, name="kernel")],
    }


@pytest.mark.parametrize("options", [{}, {"center": False}, {"scale": False}, {"epsilon": 0.1}])
@pytest.mark.parametrize("name", ["convolution", "biased", "depthwise", "dense"])
def test_norms_are_folded_and_zeros_stay(name, options):
    import keras

    def body(x):
        for layer in [*norms()[name](), keras.layers.BatchNormalization(name="norm", **options), keras.layers.ReLU()]:
            x = layer(x)
        return x

    model = model_of(body)
    kernel, *bias = model.get_layer("kernel").get_weights()
    kernel[np.random.default_rng(0).random(kernel.shape) < 0.9] = 0
    model.get_layer("kernel").set_weights([kernel, *bias])
    if options.get("scale", True):
        gamma = model.get_layer("norm").gamma
        gamma.assign(gamma * np.where(np.arange(gamma.shape[0]) % 2, -1.0, 1.0))
    rewritten, report = run_alone(fold_batchnorm, model)
    assert report.changed == ("norm",)
    assert_same(model, rewritten, tolerance=3e-6)
    folded = np.asarray(rewritten.get_layer("kernel").kernel)
    np.testing.assert_array_equal(folded == 0, kernel == 0)
    assert not np.signbit(folded[folded == 0]).any()
    assert of_class(rewritten, "BatchNormalization") == []


def test_norms_without_a_convolution_become_one():
    import keras

    layers = keras.layers

    def body(x):
        a = layers.Conv2D(6, 1, activation="relu", name="active")(x)
        a = layers.BatchNormalization(name="after_relu")(a)
        b = layers.Conv2D(6, 1, name="twice")(a)
        b = layers.Add()([b, layers.BatchNormalization(name="beside")(b)])
        return layers.BatchNormalization(name="after_add")(b)

    model = model_of(body)
    rewritten, report = run_alone(fold_batchnorm, model)
    assert set(report.changed) >= {"after_relu", "beside", "after_add"}
    assert of_class(rewritten, "BatchNormalization") == []
    assert_same(model, rewritten)
    for name in ("after_relu", "beside", "after_add"):
        kernel = rewritten.get_layer(f"{name}_affine").get_weights()[0]
        assert np.count_nonzero(kernel) == 6 == np.count_nonzero(np.diagonal(kernel[0, 0]))


def test_norms_that_stay_are_named():
    import keras

    layers = keras.layers
    image = keras.Input((8, 8, 3))
    x = layers.BatchNormalization(name="first")(image)
    x = layers.Conv2D(4, 1, activation="relu")(x)
    x = layers.GlobalAveragePooling2D()(x)
    model = randomize(keras.Model(image, layers.BatchNormalization(name="pooled")(x)))
    rewritten, report = run_alone(fold_batchnorm, model)
    assert report.changed == ()
    found = reasons(report)
    assert found["first"] == "it follows the model's input, which has no kernel to fold it into"
    assert found["pooled"] == "it follows GlobalAveragePooling2D, which has no kernel to fold it into"
    assert_same(model, rewritten)


def head(end, units=5):
    import keras

    layers = keras.layers

    def body(x):
        x = layers.GlobalAveragePooling2D(keepdims=True)(x)
        x = layers.Activation("hard_swish")(layers.Conv2D(7, 1, name="hidden")(x))
        x = layers.Dropout(0.2)(x)
        x = layers.Conv2D(units, 1, use_bias=False, name="logits", activation="relu")(x)
        return layers.Activation("softmax", name="scores")(end(x))

    return model_of(body)


@pytest.mark.parametrize("kind", ["flatten", "reshape"])
def test_a_convolutional_head_becomes_dense(kind):
    import keras

    model = head(keras.layers.Flatten() if kind == "flatten" else keras.layers.Reshape((5,)))
    rewritten, report = run_alone(dense_head, model)
    assert report.changed == ("hidden", "logits")
    assert_same(model, rewritten)
    assert [layer.name for layer in of_class(rewritten, "Dense")] == ["hidden", "logits"]
    assert of_class(rewritten, "Flatten") == of_class(rewritten, "Reshape") == []
    assert rewritten.get_layer("logits").use_bias is False


def test_a_head_that_keeps_its_rank_stays():
    import keras

    model = head(keras.layers.Reshape((1, 5)))
    rewritten, report = run_alone(dense_head, model)
    assert report.changed == ()
    assert_same(model, rewritten)


def squeeze_excite(x, twice=False):
    import keras

    layers = keras.layers
    pooled = layers.GlobalAveragePooling2D(name="pool")(x)
    scale = layers.Conv2D(6, 1, activation="sigmoid")(layers.Reshape((1, 1, 6))(pooled))
    y = layers.GlobalAveragePooling2D()(layers.Multiply()([x, scale]))
    return layers.Add()([y, pooled]) if twice else y


def test_squeeze_excite_pools_with_its_rank_kept():
    model = model_of(squeeze_excite)
    rewritten, report = run_alone(keep_pooled_rank, model)
    assert report.changed == ("pool",)
    assert rewritten.get_layer("pool").keepdims is True
    assert of_class(rewritten, "Reshape") == []
    assert_same(model, rewritten, tolerance=1e-7)


def test_a_pooled_value_that_others_read_keeps_its_rank():
    model = model_of(lambda x: squeeze_excite(x, twice=True))
    _, report = run_alone(keep_pooled_rank, model)
    assert report.changed == ()
    assert "also used without the Reshape" in reasons(report)["pool"]


def swishes():
    import keras

    layers = keras.layers
    return {
        "layer": layers.Activation("swish"),
        "in a convolution": layers.Conv2D(6, 3, activation="swish"),
        "in a depthwise one": layers.DepthwiseConv2D(3, activation="silu", use_bias=False),
        "operation": keras.ops.silu,
        "behind an addition": lambda x: keras.ops.silu(layers.Add()([x, x])),
    }


@pytest.mark.parametrize("name", ["layer", "in a convolution", "in a depthwise one", "operation", "behind an addition"])
def test_swish_is_computed_with_tanh(name):
    model = model_of(swishes()[name])
    rewritten, report = run_alone(swish_by_tanh, model)
    assert len(report.changed) == 1
    assert "Tanh" in [type(operation).__name__ for operation in rewritten.operations]
    assert constant_operands(rewritten) == []
    assert_same(model, rewritten, images(model) * 8, tolerance=1e-6)


def test_swish_on_pooled_values_stays():
    import keras

    layers = keras.layers
    model = model_of(lambda x: layers.Activation("swish")(layers.GlobalAveragePooling2D(keepdims=True)(x)))
    _, report = run_alone(swish_by_tanh, model)
    assert report.changed == ()


@pytest.mark.parametrize("shared", [[1, 2], [1]])
def test_prelu_becomes_relu_and_diagonals(shared):
    import keras

    layers = keras.layers

    def body(x):
        return layers.PReLU(shared_axes=shared, name="prelu")(layers.Conv2D(6, 1, name="ahead")(x))

    model = model_of(body)
    rewritten, report = run_alone(prelu_by_relu, model)
    if shared == [1]:
        assert report.changed == ()
        assert "differ from position to position" in reasons(report)["prelu"]
        return
    assert report.changed == ("prelu",)
    assert of_class(rewritten, "PReLU") == []
    # the layer in front computes once
    assert len([layer for layer in of_class(rewritten, "Conv2D") if layer.name.startswith("ahead")]) == 1
    assert_same(model, rewritten)


def test_norms_of_layers_that_are_called_twice_stay():
    import keras

    layers = keras.layers
    twice = layers.Conv2D(3, 1, name="shared")

    def body(x):
        x = twice(layers.Conv2D(3, 1, activation="relu")(x))
        return layers.BatchNormalization(name="norm")(twice(x))

    model = model_of(body)
    _, report = run_alone(fold_batchnorm, model)
    assert "norm" not in report.changed
    assert "called more than once" in reasons(report)["norm"]
