"""A network of the kind that sparse kernels are for, small enough to train in seconds."""

from __future__ import annotations

from typing import Any

import numpy as np


def small_mobile(width: int = 16, *, activation: str = "relu6", seed: int = 3) -> Any:
    """(32, 32, 3) -> 3 classes: a stem, two inverted-residual-like blocks of 1x1 convolutions, pooling and Dense."""
    import keras

    keras.utils.set_random_seed(seed)
    layers = keras.layers

    def act(x: Any, name: str) -> Any:
        if activation == "relu6":
            return layers.ReLU(6.0, name=name)(x)
        return layers.Activation(activation, name=name)(x)

    inputs = keras.Input((32, 32, 3))
    x = act(layers.Conv2D(8, 3, strides=2, padding="same", name="stem")(inputs), "stem_act")
    for number in (1, 2):
        x = act(layers.Conv2D(2 * width, 1, name=f"expand_{number}")(x), f"expand_{number}_act")
        x = layers.DepthwiseConv2D(3, padding="same", name=f"depthwise_{number}")(x)
        x = layers.Conv2D(width, 1, name=f"project_{number}")(act(x, f"depthwise_{number}_act"))
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    model = keras.Model(inputs, layers.Dense(3, activation="softmax", name="classes")(x))
    for bias in (value for value in model.trainable_variables if value.path.endswith("bias")):
        bias.assign(keras.random.normal(bias.shape, stddev=0.1))  # equal zeros would be stored once
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def colours(count: int = 160) -> tuple[np.ndarray, np.ndarray]:
    """Images whose class is the channel that is brighter."""
    y = np.arange(count) % 3
    x = np.random.default_rng(0).normal(0, 0.5, (count, 32, 32, 3)).astype(np.float32)
    x[np.arange(count), :, :, y] += 1
    return x, y
