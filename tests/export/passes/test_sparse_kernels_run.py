"""What the passes are for: the exported file of a pruned model runs sparse kernels, and the stock one does not."""

from __future__ import annotations

import numpy as np
import pytest
from pass_oracle import randomize

from edgeprune.export.convert import convert
from edgeprune.export.passes.apply import apply_passes
from edgeprune.tflite.flatbuffer import parse_model
from edgeprune.tflite.sparse_inference.predict import predict

pytestmark = pytest.mark.keras


def verdict(model):
    prediction = predict(
        parse_model(convert(model, "float16", sparse=True), "the model"), "ai-edge-litert", "2.3.0", ()
    )
    return prediction.verdict


def pruned(body, head="dense"):
    """A stem, a block, and a head; 90 % of the 1x1 weights are zero."""
    import keras

    layers = keras.layers
    image = keras.Input((32, 32, 3))
    x = layers.Rescaling(1 / 127.5, -1.0)(image)
    x = layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False)(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    x = body(layers.Conv2D(32, 1)(x))
    x = layers.Conv2D(48, 1)(x)
    if head == "dense":
        x = layers.Dense(4)(layers.GlobalAveragePooling2D()(x))
    else:
        x = layers.Reshape((4,))(layers.Conv2D(4, 1)(layers.GlobalAveragePooling2D(keepdims=True)(x)))
    model = randomize(keras.Model(image, x))
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if getattr(layer, "kernel_size", None) == (1, 1):
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


BODIES = {
    "3x3": lambda: down(3, "relu"),
    "5x5, hard swish": lambda: down(5, "hard_swish"),
    "swish": lambda: down(3, "swish"),
    "hard sigmoid": lambda: down(3, "hard_sigmoid"),
    "squeeze-excite": lambda: squeezed,
    "squeeze-excite with Reshape": lambda: reshaped,
    "constant": lambda: scaled,
}


@pytest.mark.parametrize("name", BODIES)
def test_the_rewritten_model_runs_sparse(name):
    model = pruned(BODIES[name]())
    assert verdict(model) != "sparse"
    assert verdict(apply_passes(model, finetuned=False)[0]) == "sparse"


def test_the_model_rewritten_before_and_after_finetuning_runs_sparse():
    for_training, _ = apply_passes(pruned(squeezed), finetuned=True)
    assert verdict(apply_passes(for_training, finetuned=False)[0]) == "sparse"


def test_a_convolutional_head_runs_sparse_up_to_the_pooling():
    model = pruned(down(3, "relu"), head="convolution")
    assert verdict(apply_passes(model, finetuned=False)[0]) == "sparse"
