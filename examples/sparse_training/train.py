"""Prune a small CNN while it trains on the handwritten digits that ship with scikit-learn, save it, train it on.

Writes work/model.keras, an ordinary Keras model with 90 % zeros, and work/sparsity.csv.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import edgeprune as ep
from edgeprune.atomic import replacing
from edgeprune.quiet import silence

silence()
import keras  # noqa: E402  (TensorFlow must not load before silence())
from keras import layers  # noqa: E402


def network() -> keras.Model:
    """The network: (batch, 8, 8, 1) -> (batch, 10) probabilities."""
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.Conv2D(32, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--sparsity", type=float, default=0.9)
    parser.add_argument("--pattern", default="unstructured", help='or "2:4", "1x4"')
    parser.add_argument("--criterion", default="magnitude", help="or movement, taylor, random")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parent / "work")
    arguments = parser.parse_args()

    keras.utils.set_random_seed(0)
    bunch = load_digits()
    images = bunch.images[..., np.newaxis].astype("float32") / 16.0  # scikit-learn's pixels are 0..16
    x, x_val, y, y_val = train_test_split(images, bunch.target, test_size=0.2, stratify=bunch.target, random_state=0)

    model = network()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    pruning = ep.PruningCallback(
        ep.PolynomialSchedule(arguments.sparsity, begin=0.1, end=0.7),
        arguments.criterion,
        arguments.pattern,
        layer_sparsity={model.layers[-1].name: 0.5},  # the last layer has few weights, each worth more
        csv=arguments.output / "sparsity.csv",
    )
    settings = {"batch_size": arguments.batch_size, "validation_data": (x_val, y_val)}
    model.fit(x, y, epochs=arguments.epochs, verbose=2, callbacks=[pruning], **settings)
    pruning.summary()

    # A saved model holds zeros but no masks: freeze them before training goes on.
    with replacing(arguments.output / "model.keras") as path:
        model.save(path)
    loaded = ep.freeze_sparsity(keras.models.load_model(arguments.output / "model.keras"))
    loaded.fit(x, y, epochs=1, verbose=0, **settings)
    zeros = sum(int(np.count_nonzero(np.asarray(layer.kernel) == 0)) for layer in loaded.layers if layer.weights)
    print(f"zeros after one more epoch: {zeros:,}")
    print(f"validation accuracy {loaded.evaluate(x_val, y_val, verbose=0)[1]:.4f}")


if __name__ == "__main__":
    main()
