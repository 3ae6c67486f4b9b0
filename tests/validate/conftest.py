"""A small trained classifier, its inputs and its TFLite forms, made once."""

from __future__ import annotations

import numpy as np
import pytest

PATTERNS = np.random.default_rng(1).random((5, 8, 8, 3), dtype=np.float32)


def samples(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noisy copies of five patterns: images (count, 8, 8, 3) float32 in [0, 1], labels (count,)."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 5, count)
    noise = rng.normal(0.0, 0.3, (count, 8, 8, 3)).astype(np.float32)
    return np.clip(PATTERNS[labels] + noise, 0.0, 1.0), labels


@pytest.fixture(scope="session")
def classifier():
    """8x8x3 -> softmax over 5 classes, trained for a moment: Conv, BatchNorm, ReLU6, depthwise, residual, Dense."""
    import keras

    keras.utils.set_random_seed(5)
    layers = keras.layers
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False, name="stem")(image)
    x = layers.ReLU(6.0)(layers.BatchNormalization(momentum=0.8, name="norm")(x))
    y = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    x = layers.Flatten()(layers.Add()([x, y]))
    x = layers.Dense(5, activation="softmax", name="classes")(x)
    model = keras.Model(image, x)
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    model.fit(*samples(640, seed=2), epochs=4, batch_size=32, verbose=0)
    return model


@pytest.fixture(scope="session")
def images():
    """40 images the classifier has not seen."""
    return samples(40, seed=3)[0]


@pytest.fixture(scope="session")
def lite(classifier, images):
    """Quantization mode -> TFLite bytes of `classifier`."""
    from edgeprune.cost_rates import QUANTIZE_MODES
    from edgeprune.export.convert import convert

    return {mode: convert(classifier, mode, lambda: iter([[images]])) for mode in QUANTIZE_MODES}
