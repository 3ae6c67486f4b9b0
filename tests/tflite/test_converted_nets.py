"""The prediction for what Keras and the TFLite converter write, on networks whose answer follows from the rules."""

import numpy as np
import pytest

from edgeprune.tflite.flatbuffer import parse_model
from edgeprune.tflite.sparse_inference.predict import predict

pytestmark = pytest.mark.keras


def converted(change, *, symmetric: bool = True, zeros: float = 0.9, optimize=("EXPERIMENTAL_SPARSITY",), types=()):
    """stem -> 1x1 -> `change` -> 1x1 -> global mean -> dense, pruned and converted."""
    import keras
    import tensorflow as tf
    from keras import layers

    keras.utils.set_random_seed(5)
    image = keras.Input((16, 16, 3), batch_size=1)
    if symmetric:
        x = layers.Conv2D(16, 3, strides=2, activation="relu")(layers.ZeroPadding2D(1)(image))
    else:
        x = layers.Conv2D(16, 3, strides=2, padding="same", activation="relu")(image)
    x = change(layers.Conv2D(32, 1, activation="relu")(x))
    x = layers.Conv2D(32, 1, activation="relu")(x)
    network = keras.Model(image, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)))
    generator = np.random.default_rng(0)
    for layer in network.layers:
        if isinstance(layer, layers.Conv2D) and layer.kernel_size == (1, 1):
            kernel, bias = layer.get_weights()
            layer.set_weights([kernel * (generator.random(kernel.shape) >= zeros), bias])
    converter = tf.lite.TFLiteConverter.from_keras_model(network)
    converter.optimizations = [getattr(tf.lite.Optimize, name) for name in optimize]
    converter.target_spec.supported_types = [getattr(tf, name) for name in types]
    return parse_model(converter.convert(), "m.tflite")


def verdict(model, version: str = "2.3.0"):
    prediction = predict(model, "ai-edge-litert", version, ("neon",))
    rules = [found.rule for cluster in prediction.clusters for found in cluster.findings]
    return prediction.verdict, rules


def same(x):
    return x


def test_a_symmetric_stem_runs_sparse_and_a_stock_one_does_not():
    assert verdict(converted(same)) == ("sparse", [])
    assert verdict(converted(same, symmetric=False)) == ("dense", ["stem-padding"])


def test_too_few_zeros():
    assert verdict(converted(same, zeros=0.5)) == ("dense", ["zeros"])


def test_without_the_sparse_encoding():
    assert verdict(converted(same, optimize=())) == ("dense", ["not-encoded"])


def test_float16_depends_on_the_runtime():
    """The converter writes float16 biases, beside which 1.4 to 2.1 read sparse weights right; 1.3 is not sure to."""
    model = converted(same, optimize=("DEFAULT", "EXPERIMENTAL_SPARSITY"), types=("float16",))
    assert verdict(model)[0] == "sparse"
    assert verdict(model, "2.1.6")[0] == "sparse"
    assert verdict(model, "1.3.0")[0] == "broken"


def test_what_converted_layers_do_inside():
    """x * constant becomes MUL(x, constant) however it is written; activations become one operation."""
    from keras import layers, ops

    vector = np.linspace(0.5, 1.5, 32, dtype=np.float32).reshape(1, 1, 1, 32)
    for change, expected in (
        (lambda x: layers.Activation("hard_swish")(x), "sparse"),
        (lambda x: layers.Activation("swish")(x), "sparse"),
        (lambda x: layers.BatchNormalization()(layers.DepthwiseConv2D(3, padding="same")(x)), "sparse"),
        (lambda x: ops.multiply(vector, x), "broken"),
        (lambda x: layers.MaxPooling2D()(x), "broken"),
        (lambda x: layers.DepthwiseConv2D(3, 2, padding="same")(x), "broken"),
        (lambda x: layers.DepthwiseConv2D(3, 2)(layers.ZeroPadding2D(1)(x)), "sparse"),
    ):
        assert verdict(converted(change))[0] == expected
