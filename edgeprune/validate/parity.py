"""Is the TFLite file the Keras model? Compares outputs on real inputs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgeprune.cost_rates import QUANTIZE_MODES
from edgeprune.errors import InputError, ValidationError, nearest
from edgeprune.records.report import Parity
from edgeprune.validate.interpreter import LiteModel
from edgeprune.validate.keras_outputs import keras_outputs

# Largest error that passes. Parity guards against a wrong graph (a lost BatchNorm, swapped channels or outputs, other
# preprocessing), whose errors measure 0.3 to 2.4; what rounding costs in accuracy is the metric's business.
# Measured on trained networks with 3 to 8 residual depthwise blocks, softmax, logits and regression:
TOLERANCE = {
    "none": 1e-4,  # 5e-7: kernels only sum in another order
    "float16": 2e-2,  # 3e-3: weights keep 11 bits, layer after layer
    "dynamic": 0.1,  # 2e-2: weights keep 8 bits
    "int8": 0.25,  # 6e-2: activations too; softmax near a decision boundary magnifies it
}

_BATCH = 32


def check_parity(keras_model: Any, model: bytes | str | Path, inputs: Sequence[np.ndarray], mode: str) -> Parity:
    """Compare the TFLite `model` (content or path) with `keras_model` on `inputs`.

    inputs: one array (n, *shape) per input in the order of `keras_model.inputs`; n >= 1, float32 real data.

    Each output's error is relative to that output's largest absolute Keras value over all samples (an
    output that is 0 everywhere: absolute). `max_error` and `mean_error` are those of the worst output. NaN or
    infinity in the TFLite outputs gives infinite errors, which never pass.

    Raises:
        InputError: unknown mode or no samples.
        ValidationError: the runtime refuses the file, its outputs have other shapes, or the Keras model itself
            answers NaN or infinity.
    """
    if mode not in TOLERANCE:
        raise InputError(f'unknown quantization mode "{mode}"; {nearest(mode, QUANTIZE_MODES)}')
    samples = len(inputs[0]) if inputs else 0
    if samples == 0:
        raise InputError("parity needs at least one sample; got none")
    names = [tensor.name for tensor in keras_model.inputs]
    lite = LiteModel(model, input_names=names)
    expected, actual = _outputs(keras_model, lite, inputs, samples)
    errors = [_errors(*pair) for pair in zip(expected, actual, strict=True)]
    max_error = max(error[0] for error in errors)
    tolerance = max(TOLERANCE[mode], _keras_rounding(keras_model))
    return Parity(
        quantize=mode,
        samples=samples,
        max_error=max_error,
        mean_error=max(error[1] for error in errors),
        tolerance=tolerance,
        passed=max_error <= tolerance,
    )


def _outputs(
    keras_model: Any, lite: LiteModel, inputs: Sequence[np.ndarray], samples: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Both models' outputs for all samples, one array per output."""
    expected, actual = [], []
    for start in range(0, samples, _BATCH):
        batch = [array[start : start + _BATCH] for array in inputs]
        expected.append(keras_outputs(keras_model, batch))
        actual.append(lite.predict(batch))
    wanted = [np.concatenate(parts) for parts in zip(*expected, strict=True)]
    got = [np.concatenate(parts) for parts in zip(*actual, strict=True)]
    if [array.shape for array in wanted] != [array.shape for array in got]:
        raise ValidationError(
            f"the TFLite outputs have the shapes {[array.shape[1:] for array in got]}, "
            f"Keras gives {[array.shape[1:] for array in wanted]}"
        )
    for number, array in enumerate(wanted):
        if not np.isfinite(array).all():
            raise ValidationError(f"the Keras model's output {number} holds NaN or infinity; its training diverged")
    return wanted, got


def _errors(expected: np.ndarray, actual: np.ndarray) -> tuple[float, float]:
    """(max, mean) of the error relative to the largest absolute expected value."""
    if not np.isfinite(actual).all():
        return float("inf"), float("inf")
    difference = np.abs(expected.astype(np.float64) - actual.astype(np.float64))
    scale = float(np.abs(expected).max()) or 1.0
    return float(difference.max()) / scale, float(difference.mean()) / scale


def _keras_rounding(model: Any) -> float:
    """What a Keras model in mixed precision is itself off by: the reference is no better than this."""
    dtypes = {layer.compute_dtype for layer in model._flatten_layers(include_self=False)}
    return 0.1 if "bfloat16" in dtypes else 1e-2 if "float16" in dtypes else 0.0
