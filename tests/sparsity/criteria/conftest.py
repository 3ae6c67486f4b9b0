"""Models small enough to work out by hand, and the evidence that a criterion gets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgeprune.sparsity.criteria.base import Evidence
from edgeprune.sparsity.weights import prunable_weights

# Two samples for `linear_model` with labels 0: the predictions are 1 and -2.
INPUTS = np.array([[1.0, 1.0], [0.0, 2.0]], dtype=np.float32)
LABELS = np.zeros((2, 1), dtype=np.float32)


@pytest.fixture
def samples() -> tuple[np.ndarray, np.ndarray]:
    return INPUTS, LABELS


@pytest.fixture
def linear_model() -> Any:
    """p = 2 * x0 - x1, mean squared error."""
    import keras

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False)])
    model.set_weights([np.array([[2.0], [-1.0]])])
    model.compile("sgd", "mse")
    return model


@pytest.fixture
def evidence_of() -> Callable[..., Evidence]:
    def build(model: Any, data: Any = None, **options: Any) -> Evidence:
        return Evidence(model, prunable_weights(model), data, **options)

    return build
