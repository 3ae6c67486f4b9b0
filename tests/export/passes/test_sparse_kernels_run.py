"""What the passes are for: the exported file of a pruned model runs sparse kernels, and the stock one does not."""

from __future__ import annotations

import numpy as np
import pytest
from pass_oracle import assert_same, randomize

from edgeprune.export.convert import convert
from edgeprune.export.passes.apply import apply_passes
from edgeprune.export.valid_padding import write_valid_padding
from edgeprune.tflite.flatbuffer import parse_model
from edgeprune.tflite.sparse_inference.predict import predict

pytestmark = pytest.mark.keras


def verdict(model):
    content = write_valid_padding(convert(model, "float16", sparse=True))
    return predict(parse_model(content, "the model"), "ai-edge-litert", "2.3.0", ()).verdict


def dense_head(x):
    import keras

    return keras.layers.Dense(4)(keras.layers.GlobalAveragePooling2D()(x))


def pruned(body, head=dense_head, size=(32, 32, 3), kernel=3, stride=2):
    """A stem, a block, and a head; 90 % of the 1x1 weights are zero."""
    import keras

    layers = keras.layers
    image = keras.Input(size)
    x = layers.Rescaling(1 / 127.5, -1.0)(layers.RandomRotation(0.1)(layers.RandomFlip()(image)))
    x = layers.Conv2D(16, kernel, strides=stride, padding="same", use_bias=False)(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    x = body(layers.Conv2D(32, 1)(x))
    x = layers.Conv2D(48, 1)(x)
    model = randomize(keras.Model(image, head(x)))
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if getattr(layer, "kernel_size", None) == (1, 1) or isinstance(layer, layers.Dense):
            kernel, *bias = layer.get_weights()
            kernel[rng.random(kernel.shape) < 0.9] = 0
            layer.set_weights([kernel, *bias])
    return model


def down(kernel, activation):
    import keras

    layers = keras.layers

    def body(x):
        x = layers.DepthwiseConv2D(kernel, strides=2, padding="same", use_bias=False)(x)
        return layers.Activation(activation)(layers.BatchNormalization()(x))

    return body


def squeezed(x):
    """Squeeze-excite with a hard sigmoid, as in MobileNetV3."""
    import keras

    layers = keras.layers
    scale = layers.Conv2D(32, 1)(layers.GlobalAveragePooling2D(keepdims=True)(x))
    return layers.Multiply()([x, layers.ReLU(6.0)(scale + 3.0) * (1 / 6)])


def reshaped(x):
    """Squeeze-excite with a Reshape, as in EfficientNet."""
    import keras

    layers = keras.layers
    pooled = layers.Reshape((1, 1, 32))(layers.GlobalAveragePooling2D()(x))
    return layers.Multiply()([x, layers.Conv2D(32, 1, activation="sigmoid")(pooled)])


def scaled(x):
    """A constant beside an image that two layers read."""
    import keras

    return keras.layers.Add()([x, keras.ops.tanh(x) * 0.5])


def gated(x, activation="sigmoid"):
    """Squeeze-excite by Dense layers, with the Reshape last."""
    import keras

    layers = keras.layers
    scale = layers.Dense(8, activation="relu")(layers.GlobalAveragePooling2D()(x))
    scale = layers.Reshape((1, 1, 32))(layers.Dense(32, activation=activation)(scale))
    return layers.Multiply()([x, scale])


def normalized(x):
    """Norms where no convolution stands in front of them."""
    import keras

    layers = keras.layers
    y = layers.BatchNormalization()(layers.DepthwiseConv2D(3, padding="same", activation="relu")(x))
    return layers.ReLU()(layers.BatchNormalization()(layers.Add()([x, y])))


def shortcut(kind):
    import keras

    layers = keras.layers

    def body(x):
        y = layers.DepthwiseConv2D(3, strides=2, padding="same")(x)
        short = layers.Conv2D(32, 1, strides=2)(x) if kind == "convolution" else layers.AveragePooling2D(2)(x)
        return layers.Add()([short, layers.Conv2D(32, 1)(y)])

    return body


def prelu(x):
    import keras

    return keras.layers.PReLU(shared_axes=[1, 2])(x)


BODIES = {
    "3x3": lambda: down(3, "relu"),
    "5x5, hard swish": lambda: down(5, "hard_swish"),
    "swish": lambda: down(3, "swish"),
    "hard sigmoid": lambda: down(3, "hard_sigmoid"),
    "squeeze-excite": lambda: squeezed,
    "squeeze-excite with Reshape": lambda: reshaped,
    "squeeze-excite with Dense": lambda: gated,
    "squeeze-excite with Dense, hard sigmoid": lambda: lambda x: gated(x, "hard_sigmoid"),
    "constant": lambda: scaled,
    "norms": lambda: normalized,
    "prelu": lambda: prelu,
    "1x1 shortcut": lambda: shortcut("convolution"),
    "pooled shortcut": lambda: shortcut("pooling"),
}


def flat(x):
    import keras

    return keras.layers.Dense(4)(keras.layers.Flatten()(x))


def of_maximum(x):
    import keras

    return keras.layers.Dense(4)(keras.layers.GlobalMaxPooling2D()(x))


def pooled_by_window(x):
    import keras

    layers = keras.layers
    return layers.Dense(4)(layers.Flatten()(layers.AveragePooling2D(x.shape[1])(x)))


def convolution(x):
    import keras

    layers = keras.layers
    return layers.Reshape((4,))(layers.Conv2D(4, 1)(layers.GlobalAveragePooling2D(keepdims=True)(x)))


def maps(x):
    """A decoder: 5 channels, which is no multiple of four."""
    import keras

    return keras.layers.UpSampling2D(2, interpolation="bilinear")(keras.layers.Conv2D(5, 1)(x))


HEADS = {"maps": maps, "maximum": of_maximum, "flat": flat, "window": pooled_by_window, "convolution": convolution}
STEMS = {
    "one channel": {"size": (32, 32, 1)},
    "four channels": {"size": (32, 32, 4)},
    "stride 1": {"stride": 1},
    "5x5": {"kernel": 5},
    "7x7": {"kernel": 7},
    "5x5, stride 1, one channel": {"kernel": 5, "stride": 1, "size": (28, 28, 1)},
    "odd": {"size": (33, 29, 3)},
    "odd inside": {"size": (30, 38, 3)},
    "odd along one axis": {"size": (33, 32, 3)},
}


@pytest.mark.parametrize("name", BODIES)
def test_the_rewritten_model_runs_sparse(name):
    model = pruned(BODIES[name]())
    assert verdict(model) != "sparse"
    exact, _ = apply_passes(model, finetuned=False)
    assert verdict(exact) == "sparse"
    assert_same(model, exact)


@pytest.mark.parametrize("name", HEADS)
def test_any_head_runs_sparse(name):
    model = pruned(down(3, "relu"), HEADS[name])
    assert verdict(model) != "sparse"
    exact, _ = apply_passes(model, finetuned=False)
    assert verdict(exact) == "sparse"
    assert_same(model, exact)


@pytest.mark.parametrize("name", STEMS)
def test_any_stem_runs_sparse(name):
    model = pruned(down(3, "relu"), **STEMS[name])
    exact, _ = apply_passes(model, finetuned=False)
    assert verdict(exact) == "sparse"
    assert_same(model, exact)
    tuned, _ = apply_passes(apply_passes(model, finetuned=True)[0], finetuned=False)
    assert verdict(tuned) == "sparse"


def test_augmentation_does_not_keep_the_image_from_being_mirrored():
    _, reports = apply_passes(pruned(down(3, "relu")), finetuned=False)
    changed = {report.name: report.changed for report in reports}
    assert changed["mirror_image"] != ()
    assert changed["recast_stem"] == ()


def test_the_model_rewritten_before_and_after_finetuning_runs_sparse():
    for_training, _ = apply_passes(pruned(squeezed), finetuned=True)
    assert verdict(apply_passes(for_training, finetuned=False)[0]) == "sparse"
