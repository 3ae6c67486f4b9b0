"""Small models around one body, and what every smaller model must be able to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from graph_oracle import Pruned, assert_same, check, outputs, random_inputs
from keras import layers

Body = Callable[[Any], Any]


def sequence_model(body: Body, steps: int = 6, channels: int = 5) -> Any:
    """(steps, channels) -> body -> mean over the steps -> Dense(3)."""
    sequence = keras.Input((steps, channels), name="sequence")
    pooled = layers.GlobalAveragePooling1D(name="pool")(body(sequence))
    return keras.Model(sequence, layers.Dense(3, name="head")(pooled))


def image_model(body: Body, size: int = 6) -> Any:
    """(size, size, 3) -> Conv2D(8) "a" -> body -> Conv2D(5) "b" -> pooled -> Dense(3)."""
    image = keras.Input((size, size, 3), name="image")
    x = body(layers.Conv2D(8, 3, padding="same", name="a")(image))
    x = layers.Conv2D(5, 3, padding="same", name="b")(x)
    return keras.Model(image, layers.Dense(3, name="head")(layers.GlobalAveragePooling2D(name="pool")(x)))


def check_at_both_ratios(build: Callable[[], Any]) -> None:
    """The oracle and the counts at 30 % and 60 % random removal."""
    for ratio in (0.3, 0.6):
        check(build(), ratio)


def train_save_load(pruned: Pruned, folder: Path) -> None:
    """The smaller model saves, loads to the same function, and a training step changes its weights."""
    smaller = pruned.smaller
    inputs = random_inputs(smaller)
    wanted = outputs(smaller, inputs)
    path = folder / "smaller.keras"
    smaller.save(path)
    loaded = keras.models.load_model(path)
    assert_same(wanted, outputs(loaded, inputs), 1e-6)
    before = [keras.ops.convert_to_numpy(weight) for weight in loaded.trainable_weights]
    loaded.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse")
    targets = [np.ones(output.shape, np.float32) for output in wanted]
    loaded.fit(inputs, targets if len(targets) > 1 else targets[0], epochs=1, verbose=0)
    after = [keras.ops.convert_to_numpy(weight) for weight in loaded.trainable_weights]
    assert any(not np.array_equal(old, new) for old, new in zip(before, after, strict=True))
