"""Every Keras optimizer, and the options that write to weights in their own way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

optimizers = keras.optimizers


@dataclass(frozen=True)
class Case:
    """How to train: the optimizer, the compute dtype, XLA. `replicable`: Keras itself can train it on two replicas."""

    name: str
    optimizer: Callable[[], Any]
    dtype: str | None = None
    jit: bool = False
    replicable: bool = True


OPTIMIZERS = [
    Case("sgd momentum", lambda: optimizers.SGD(0.05, momentum=0.9, nesterov=True, weight_decay=0.01)),
    Case("rmsprop", lambda: optimizers.RMSprop(0.01, momentum=0.5, weight_decay=0.01)),
    Case("adam", lambda: optimizers.Adam(0.01, amsgrad=True)),
    Case("adamw", lambda: optimizers.AdamW(0.01, weight_decay=0.1)),
    Case("adadelta", lambda: optimizers.Adadelta(1.0)),
    Case("adagrad", lambda: optimizers.Adagrad(0.1)),
    Case("adamax", lambda: optimizers.Adamax(0.01)),
    Case("nadam", lambda: optimizers.Nadam(0.01)),
    Case("ftrl", lambda: optimizers.Ftrl(0.05)),
    Case("lion", lambda: optimizers.Lion(0.01, weight_decay=0.1)),
    Case("lamb", lambda: optimizers.Lamb(0.01)),
    Case("adafactor", lambda: optimizers.Adafactor(0.01)),
    Case("muon", lambda: optimizers.Muon(0.01, weight_decay=0.1)),
]
OPTIONS = [
    Case("ema", lambda: optimizers.Adam(0.01, use_ema=True)),
    Case("ema overwrite", lambda: optimizers.Adam(0.01, use_ema=True, ema_overwrite_frequency=3), replicable=False),
    Case("accumulation", lambda: optimizers.AdamW(0.01, gradient_accumulation_steps=3), replicable=False),
    Case(
        "accumulation ema", lambda: optimizers.SGD(0.1, gradient_accumulation_steps=2, use_ema=True), replicable=False
    ),
    Case("clipping", lambda: optimizers.Adam(0.01, global_clipnorm=0.5)),
    Case("mixed float16", lambda: optimizers.AdamW(0.01), "mixed_float16"),
    Case("mixed float16 ema", lambda: optimizers.Adam(0.01, use_ema=True), "mixed_float16"),
    Case("mixed bfloat16", lambda: optimizers.AdamW(0.01), "mixed_bfloat16"),
]
CASES = OPTIMIZERS + OPTIONS


def small_model(dtype: str | None = None) -> Any:
    """A convolution, BatchNorm and a Dense layer; the same weights every time."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            layers.Conv2D(4, 3, kernel_regularizer="l2", dtype=dtype),
            layers.BatchNormalization(dtype=dtype),
            layers.ReLU(dtype=dtype),
            layers.Flatten(dtype=dtype),
            layers.Dense(3, kernel_constraint=keras.constraints.MaxNorm(2.0), dtype="float32"),
        ]
    )


def compile_model(model: Any, case: Case) -> None:
    """Compile `model` as the case says."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(case.optimizer(), loss, jit_compile=case.jit)


def data(samples: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Random images (samples, 6, 6, 2) and labels of three classes."""
    random = np.random.default_rng(0)
    return random.normal(size=(samples, 6, 6, 2)).astype("float32"), random.integers(0, 3, samples)


def zero_some(model: Any, share: float = 0.5) -> list[np.ndarray]:
    """Set random weights of both kernels to zero; the masks, True = kept."""
    random = np.random.default_rng(1)
    masks = []
    for layer in (model.layers[0], model.layers[-1]):
        value = np.asarray(layer.kernel)
        masks.append(random.random(value.shape) >= share)
        layer.kernel.assign(value * masks[-1])
    return masks


def kernels(model: Any) -> list[np.ndarray]:
    """The two kernels."""
    return [np.asarray(layer.kernel) for layer in (model.layers[0], model.layers[-1])]
