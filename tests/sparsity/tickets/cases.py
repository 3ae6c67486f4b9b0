"""A tiny model and its training, the same every time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

EPOCHS, STEPS = 3, 4  # 32 samples in batches of 8
_random = np.random.default_rng(0)
X, Y = _random.normal(size=(32, 4)).astype("float32"), _random.integers(0, 2, 32)


def model(optimizer: Any = None, **compile_options: Any) -> Any:
    """Kernels (4, 5) and (5, 2): 20 and 10 weights; BatchNorm statistics and a seed state besides."""
    keras.utils.set_random_seed(1)
    layers = keras.layers
    made = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(5, name="first"),
            layers.BatchNormalization(),
            layers.Dropout(0.2),
            layers.Dense(2, name="last"),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    made.compile(optimizer or keras.optimizers.Adam(0.01), loss, metrics=["accuracy"], **compile_options)
    return made


def fit(model: Any, callbacks: list[Any], initial_epoch: int = 0) -> Any:
    """All epochs; the order of samples is seeded anew each time."""
    keras.utils.set_random_seed(2)
    return model.fit(
        X,
        Y,
        batch_size=8,
        epochs=EPOCHS,
        verbose=0,
        callbacks=callbacks,
        initial_epoch=initial_epoch,
    )


def plain_fit(model: Any, callbacks: list[Any]) -> Any:
    """Without `initial_epoch`."""
    return fit(model, callbacks)


def arrays(variables: list[Any]) -> list[np.ndarray]:
    """Copies of variables."""
    return [np.asarray(variable).copy() for variable in variables]


def kernels(model: Any) -> list[np.ndarray]:
    """Both kernels."""
    return [np.asarray(model.get_layer(name).kernel).copy() for name in ("first", "last")]


def same(first: list[np.ndarray], second: list[np.ndarray]) -> bool:
    """Whether two states are equal, bit for bit."""
    return len(first) == len(second) and all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


class Watched:
    """A training that notes the state at the start and the end of every round."""

    def __init__(self, train: Callable[..., Any] = plain_fit) -> None:
        self.train = train
        self.starts: list[list[np.ndarray]] = []
        self.optimizers: list[list[np.ndarray]] = []
        self.ends: list[list[np.ndarray]] = []

    def __call__(self, model: Any, callbacks: list[Any]) -> Any:
        self.starts.append(arrays(model.variables))
        self.optimizers.append(arrays(model.optimizer.variables))
        result = self.train(model, callbacks)
        self.ends.append(arrays(model.variables))
        return result


def kernels_of(state: list[np.ndarray]) -> list[np.ndarray]:
    """Both kernels in a state of the model's variables."""
    return [value for value in state if value.shape in ((4, 5), (5, 2))]


def masks_of(state: list[np.ndarray]) -> list[np.ndarray]:
    """Which of their weights are not zero."""
    return [value != 0 for value in kernels_of(state)]
