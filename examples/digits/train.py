"""Train a small MobileNetV2-style classifier on the handwritten digits that ship with scikit-learn.

Writes two files, which edgeprune.toml names:
    work/data.npz     x_train, x_val: (n, 32, 32, 3) float32 in 0..1; y_train, y_val: (n,) int64 in 0..9
    work/model.keras  the trained and compiled model
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from edgeprune.atomic import replacing
from edgeprune.quiet import silence

silence()
import keras  # noqa: E402  (TensorFlow must not load before silence())
from keras import layers  # noqa: E402

IMAGE_SIZE = 32
CLASSES = 10
PEAK_LEARNING_RATE = 2e-3

# (expansion, output channels, stride) of each inverted residual, after a stem that halves the image.
BLOCKS = ((1, 32, 1), (6, 48, 1), (6, 48, 1), (6, 72, 2), (6, 72, 1), (6, 128, 2), (6, 128, 1))


def digits(seed: int) -> dict[str, np.ndarray]:
    """The 1,797 digits at 32x32x3, a stratified fifth of them for validation."""
    bunch = load_digits()
    small = bunch.images[..., np.newaxis].astype("float32") / 16.0  # scikit-learn's pixels are 0..16
    gray = np.asarray(keras.ops.image.resize(small, (IMAGE_SIZE, IMAGE_SIZE), interpolation="bilinear"))
    images = np.repeat(gray, 3, axis=-1)
    x_train, x_val, y_train, y_val = train_test_split(
        images, bunch.target, test_size=0.2, stratify=bunch.target, random_state=seed
    )
    return {"x_train": x_train, "y_train": y_train, "x_val": x_val, "y_val": y_val}


def normalized(x, name: str, activate: bool = True):
    """BatchNorm, then ReLU6 where `activate`."""
    # A run has some hundred steps: Keras' default momentum of 0.99 would leave the statistics behind.
    x = layers.BatchNormalization(momentum=0.9, name=f"{name}_bn")(x)
    return layers.ReLU(6.0, name=f"{name}_relu")(x) if activate else x


def inverted_residual(x, expansion: int, channels: int, stride: int, name: str):
    """Expand 1x1, depthwise 3x3, project 1x1; the input is added where the shapes allow."""
    shortcut, c_in = x, x.shape[-1]
    if expansion > 1:
        x = layers.Conv2D(expansion * c_in, 1, use_bias=False, name=f"{name}_expand")(x)
        x = normalized(x, f"{name}_expand")
    x = layers.DepthwiseConv2D(3, stride, padding="same", use_bias=False, name=f"{name}_depthwise")(x)
    x = normalized(x, f"{name}_depthwise")
    x = layers.Conv2D(channels, 1, use_bias=False, name=f"{name}_project")(x)
    x = normalized(x, f"{name}_project", activate=False)
    if stride == 1 and c_in == channels:
        x = layers.Add(name=f"{name}_add")([shortcut, x])
    return x


def mobilenet(blocks=BLOCKS, head_channels: int = 512) -> keras.Model:
    """The network: (batch, 32, 32, 3) -> (batch, 10) probabilities."""
    inputs = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3), name="image")
    x = layers.Conv2D(32, 3, 2, padding="same", use_bias=False, name="stem")(inputs)
    x = normalized(x, "stem")
    for number, (expansion, channels, stride) in enumerate(blocks, start=1):
        x = inverted_residual(x, expansion, channels, stride, f"block{number}")
    x = layers.Conv2D(head_channels, 1, use_bias=False, name="head")(x)
    x = normalized(x, "head")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dropout(0.2, name="dropout")(x)
    outputs = layers.Dense(CLASSES, activation="softmax", name="digit")(x)
    return keras.Model(inputs, outputs, name="digits_mobilenet")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, help="use only the first LIMIT training images")
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parent / "work")
    arguments = parser.parse_args()

    keras.utils.set_random_seed(arguments.seed)
    data = digits(arguments.seed)
    x_train, y_train = data["x_train"][: arguments.limit], data["y_train"][: arguments.limit]
    data |= {"x_train": x_train, "y_train": y_train}

    model = mobilenet()
    model.compile(keras.optimizers.Adam(), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    cosine = keras.callbacks.LearningRateScheduler(
        lambda epoch: PEAK_LEARNING_RATE * 0.5 * (1 + math.cos(math.pi * epoch / arguments.epochs))
    )
    model.fit(
        x_train,
        y_train,
        validation_data=(data["x_val"], data["y_val"]),
        epochs=arguments.epochs,
        batch_size=arguments.batch_size,
        callbacks=[cosine],
        verbose=2,
    )
    model.optimizer.learning_rate = (
        1e-3  # the schedule has brought it down to nothing; fine-tuning goes on with this one
    )
    accuracy = model.evaluate(data["x_val"], data["y_val"], verbose=0, return_dict=True)["accuracy"]
    print(f"validation accuracy {accuracy:.4f}, {model.count_params():,} parameters")

    with replacing(arguments.output / "data.npz") as path:
        np.savez_compressed(path, **data)
    with replacing(arguments.output / "model.keras") as path:
        model.save(path)
    print(f"saved {arguments.output / 'model.keras'} and {arguments.output / 'data.npz'}")


if __name__ == "__main__":
    main()
