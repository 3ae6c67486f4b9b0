"""Small models, built once: conversion takes a fraction of a second each, importing TensorFlow a few."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture(scope="session")
def residual_model():
    """8x8x3 -> 4 classes: BatchNorm with real statistics, ReLU6, depthwise, a residual, dropout, Dense."""
    import keras

    keras.utils.set_random_seed(7)
    layers = keras.layers
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(image)
    x = layers.ReLU(6.0)(layers.BatchNormalization(name="first_norm")(x))
    y = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
    y = layers.ReLU(6.0)(layers.BatchNormalization()(y))
    y = layers.BatchNormalization()(layers.Conv2D(8, 1, use_bias=False)(y))
    x = layers.Add()([x, y])
    x = layers.Dropout(0.5)(layers.Flatten()(x))
    # 128 x 32 weights: enough that the dynamic mode quantizes them
    x = layers.Dense(32, activation="relu")(x)
    model = keras.Model(image, layers.Dense(4, name="scores")(x))
    rng = np.random.default_rng(7)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            size = layer.gamma.shape[0]
            layer.set_weights(
                [
                    rng.uniform(0.5, 2.0, size),
                    rng.normal(0.0, 0.5, size),
                    rng.normal(0.0, 1.0, size),
                    rng.uniform(0.2, 3.0, size),
                ]
            )
    return model


@pytest.fixture(scope="session")
def images():
    """64 inputs for `residual_model`: (64, 8, 8, 3) float32 in [0, 1)."""
    return np.random.default_rng(3).random((64, 8, 8, 3), dtype=np.float32)
