"""Small models for tests of tasks."""

from __future__ import annotations

import keras
import numpy as np
from keras import layers

from edgeprune.data.signature import signature_of
from edgeprune.task.options import TaskOptions
from edgeprune.task.resolve import Task, resolve_task


def model(width=3, activation="softmax") -> keras.Model:
    """(n, 4) -> (n, width)."""
    return keras.Sequential([keras.Input((4,)), layers.Dense(width, activation=activation, name="out")])


def two_outputs(by_name=False) -> keras.Model:
    """(n, 4) -> `kind` (n, 3) softmax and `age` (n, 1)."""
    inputs = keras.Input((4,))
    kind = layers.Dense(3, activation="softmax", name="kind")(inputs)
    age = layers.Dense(1, name="age")(inputs)
    return keras.Model(inputs, {"kind": kind, "age": age} if by_name else [kind, age])


def task_of(keras_model: keras.Model, labels, **options) -> Task:
    """The resolved task; labels as a Split gives them."""
    return resolve_task(keras_model, labels, signature_of(keras_model), TaskOptions(**options))


CLASSES = np.array([0, 1, 2, 1], np.int32)
ONE_HOT = np.eye(3, dtype=np.float32)[CLASSES]
BINARY = np.array([[0], [1], [1], [0]], np.float32)
TARGETS = np.array([[0.5], [3], [-1], [2]], np.float32)
X = np.linspace(-1, 1, 16, dtype=np.float32).reshape(4, 4)
