"""What the Keras model answers: the reference every comparison uses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def keras_outputs(model: Any, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Outputs in the order of `model.outputs` for one batch [(n, *shape), ...] in the order of `model.inputs`.

    Half-precision outputs are returned as float32.
    """
    import keras

    # Sequential has one input and defines `input` only once it has been called.
    sequential = isinstance(model, keras.Sequential)
    packed = inputs[0] if sequential else keras.tree.pack_sequence_as(model.input, list(inputs))
    outputs = model.predict_on_batch(packed)
    return [_as_float32(np.asarray(output)) for output in keras.tree.flatten(outputs)]


def _as_float32(output: np.ndarray) -> np.ndarray:
    # bfloat16 is an extension type that numpy does not count as floating
    return output.astype(np.float32) if output.dtype.kind == "f" or output.dtype.name == "bfloat16" else output
