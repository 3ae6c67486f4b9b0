"""Train a small residual network on Fashion-MNIST; data.py says where the images come from.

Writes work/model.keras, the trained and compiled model. edgeprune.toml names it, and reads the images through data.py.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from data import CLASSES, IMAGE_SIZE, load

from edgeprune.atomic import replacing
from edgeprune.quiet import silence

silence()
import keras  # noqa: E402  (TensorFlow must not load before silence())
from keras import layers  # noqa: E402

PEAK_LEARNING_RATE = 2e-3

# (output channels, stride) of each residual block.
BLOCKS = ((32, 2), (32, 1), (64, 2), (64, 1))


def convolution(x, channels: int, stride: int, name: str, kernel: int = 3):
    """Convolution and BatchNorm."""
    x = layers.Conv2D(channels, kernel, stride, padding="same", use_bias=False, name=name)(x)
    return layers.BatchNormalization(name=f"{name}_bn")(x)


def residual_block(x, channels: int, stride: int, name: str):
    """Two 3x3 convolutions beside a shortcut, which is a 1x1 convolution where the shape changes."""
    shortcut = x
    if stride != 1 or x.shape[-1] != channels:
        shortcut = convolution(x, channels, stride, f"{name}_shortcut", kernel=1)
    x = layers.ReLU(name=f"{name}_relu1")(convolution(x, channels, stride, f"{name}_conv1"))
    x = convolution(x, channels, 1, f"{name}_conv2")
    x = layers.Add(name=f"{name}_add")([shortcut, x])
    return layers.ReLU(name=f"{name}_relu2")(x)


def residual_network(blocks=BLOCKS) -> keras.Model:
    """The network: (batch, 28, 28, 1) -> (batch, 10) probabilities."""
    inputs = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 1), name="image")
    x = layers.ReLU(name="stem_relu")(convolution(inputs, 24, 1, "stem"))
    for number, (channels, stride) in enumerate(blocks, start=1):
        x = residual_block(x, channels, stride, f"block{number}")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dropout(0.2, name="dropout")(x)
    outputs = layers.Dense(CLASSES, activation="softmax", name="garment")(x)
    return keras.Model(inputs, outputs, name="fashion_resnet")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of the four *-ubyte.gz files")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, help="use only the first LIMIT training images")
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parent / "work")
    arguments = parser.parse_args()

    keras.utils.set_random_seed(arguments.seed)
    (x_train, y_train), validation = load(arguments.data, arguments.limit)

    model = residual_network()
    model.compile(keras.optimizers.Adam(), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    cosine = keras.callbacks.LearningRateScheduler(
        lambda epoch: PEAK_LEARNING_RATE * 0.5 * (1 + math.cos(math.pi * epoch / arguments.epochs))
    )
    model.fit(
        x_train,
        y_train,
        validation_data=validation,
        epochs=arguments.epochs,
        batch_size=arguments.batch_size,
        callbacks=[cosine],
        verbose=2,
    )
    model.optimizer.learning_rate = (
        1e-3  # the schedule has brought it down to nothing; fine-tuning goes on with this one
    )
    accuracy = model.evaluate(*validation, verbose=0, return_dict=True)["accuracy"]
    print(f"validation accuracy {accuracy:.4f}, {model.count_params():,} parameters")

    with replacing(arguments.output / "model.keras") as path:
        model.save(path)
    print(f"saved {arguments.output / 'model.keras'}")


if __name__ == "__main__":
    main()
