"""Converter settings for each quantization mode, and the representative inputs int8 needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from edgeprune.errors import InputError

Representative = Callable[[], Iterable[list[np.ndarray]]]


def set_mode(converter: Any, mode: str, samples: Callable[[], Iterator[dict[str, np.ndarray]]] | None) -> None:
    """Set what `mode` needs on a TFLiteConverter.

    none: float32 weights. float16: weights stored in half the bytes, computed in float32. dynamic: int8 weights,
    activations quantized while running. int8: weights and activations int8, every operation or an error.

    The int8 model keeps float32 inputs and outputs: the program on the board stays as it is whatever mode
    is chosen, the scales need not travel beside the file, and the one conversion at each end costs
    microseconds next to the network.

    Builtin operations only: the Flex delegate is not part of the runtimes' wheels, so a model that
    needs it would fail on the board.
    """
    import tensorflow as tf

    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if mode == "none":
        return
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if mode == "float16":
        converter.target_spec.supported_types = [tf.float16]
    elif mode == "int8":
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.representative_dataset = samples
        converter.inference_input_type = tf.float32
        converter.inference_output_type = tf.float32


def named_samples(
    representative: Representative, input_names: Sequence[str], inputs: Sequence[Any]
) -> Callable[[], Iterator[dict[str, np.ndarray]]]:
    """Adapt batches in the model's input order to the converter: one sample at a time, by input name.

    By name, because the converter sorts inputs by name and a list would be taken in that order.

    inputs: the model's input tensors. Batches: one array (n, *input shape) per input; n may vary.

    Raises (while iterating):
        InputError: no samples, a wrong number of arrays, a wrong shape, NaN or infinity.
    """

    def samples() -> Iterator[dict[str, np.ndarray]]:
        count = 0
        for batch in representative():
            arrays = _checked(batch, inputs)
            for number in range(len(arrays[0])):
                count += 1
                yield {name: array[number : number + 1] for name, array in zip(input_names, arrays, strict=True)}
        if count == 0:
            raise InputError("int8 got no representative inputs; give at least one sample, better a few hundred")

    return samples


def _checked(batch: list[np.ndarray], inputs: Sequence[Any]) -> list[np.ndarray]:
    if not isinstance(batch, (list, tuple)) or len(batch) != len(inputs):
        received = f"{len(batch)} arrays" if isinstance(batch, (list, tuple)) else type(batch).__name__
        raise InputError(f"representative batches must be lists of {len(inputs)} arrays, one per input; got {received}")
    arrays = [np.asarray(array, dtype=tensor.dtype) for array, tensor in zip(batch, inputs, strict=True)]
    for array, tensor in zip(arrays, inputs, strict=True):
        if array.shape[1:] != tuple(tensor.shape[1:]) or len(array) != len(arrays[0]):
            expected = ", ".join(str(size) for size in (len(arrays[0]), *tensor.shape[1:]))
            raise InputError(f'representative inputs for "{tensor.name}" must be ({expected}); got {array.shape}')
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise InputError(f'representative inputs for "{tensor.name}" hold NaN or infinity; clean the data')
    return arrays
