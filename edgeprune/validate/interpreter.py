"""Running a TFLite file on this machine, exactly as shipped: one sample per invocation."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgeprune.errors import InputError, ValidationError
from edgeprune.quiet import muted_native_output

_NUMBERED_OUTPUT = re.compile(r"output_\d+")


class LiteModel:
    """A loaded TFLite file with batch 1, run by ai-edge-litert on the CPU.

    Outputs come in the order of the Keras model's outputs: by the signature's names output_0,
    output_1, ... where the file has them (edgeprune and Keras write them), else by position. Inputs are taken
    by `input_names` when all of these are in the signature, else by position, which edgeprune's
    export makes the Keras order.

    Not safe to use from two threads at once; make one per thread.
    """

    def __init__(self, model: bytes | str | Path, threads: int = 1, input_names: Sequence[str] | None = None) -> None:
        """Load `model`, the file's content or its path, and allocate its tensors.

        Raises:
            InputError: the file is missing or can't be read.
            ValidationError: the runtime refuses the file (quotes it), or its batch is not 1.
        """
        from ai_edge_litert.interpreter import Interpreter

        content = model if isinstance(model, bytes) else _read(Path(model))
        try:
            with muted_native_output():
                self._interpreter = Interpreter(model_content=content, num_threads=threads)
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ValidationError(f"the runtime can't load the model: {_one_line(error)}") from error
        inputs, outputs = self._named_details()
        self._inputs = _in_order(inputs, input_names) or self._interpreter.get_input_details()
        self._outputs = _in_order(outputs, _numbered(outputs)) or self._interpreter.get_output_details()
        for detail in self._inputs:
            shape = tuple(int(size) for size in detail["shape"])
            if not shape or shape[0] != 1:
                raise ValidationError(f'input "{detail["name"]}" has the shape {shape}; the first size must be 1')

    @property
    def input_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Per input, its shape without the batch axis."""
        return tuple(tuple(int(size) for size in detail["shape"][1:]) for detail in self._inputs)

    def predict(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Run every sample of a batch.

        inputs: one array (n, *shape) per input, float even where the file takes int8: values are quantized
        and dequantized at the border. Returns one array (n, *shape) per output, float32 where the file
        gives float or quantized values, else the file's own type.

        Raises:
            ValidationError: arrays that don't fit, or the runtime failed while running.
        """
        arrays = self._fitted(inputs)
        count = len(arrays[0])
        results = [
            np.empty((count, *(int(size) for size in detail["shape"][1:])), detail["dtype"]) for detail in self._outputs
        ]
        interpreter = self._interpreter
        to_set = [(detail["index"], array) for detail, array in zip(self._inputs, arrays, strict=True)]
        to_get = [(detail["index"], result) for detail, result in zip(self._outputs, results, strict=True)]
        try:
            for number in range(count):
                for index, array in to_set:
                    interpreter.set_tensor(index, array[number : number + 1])
                interpreter.invoke()
                for index, result in to_get:
                    result[number] = interpreter.get_tensor(index)[0]
        except (ValueError, RuntimeError) as error:
            raise ValidationError(f"the runtime failed while running the model: {_one_line(error)}") from error
        return [_dequantized(result, detail) for result, detail in zip(results, self._outputs, strict=True)]

    def _named_details(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Tensor details of inputs and of outputs by the names in the first signature; empty without one."""
        signatures = list(self._interpreter.get_signature_list())
        if not signatures:
            return {}, {}
        runner = self._interpreter.get_signature_runner(signatures[0])
        return runner.get_input_details(), runner.get_output_details()

    def _fitted(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        if len(inputs) != len(self._inputs):
            raise ValidationError(f"the model has {len(self._inputs)} inputs, {len(inputs)} arrays were given")
        arrays = []
        for array, detail, shape in zip(inputs, self._inputs, self.input_shapes, strict=True):
            if array.shape[1:] != shape or len(array) != len(inputs[0]):
                raise ValidationError(
                    f'input "{detail["name"]}" takes ({len(inputs[0])}, {str(shape)[1:-1]}), {array.shape} was given'
                )
            arrays.append(_quantized(array, detail))
        return arrays


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}; give a .tflite file") from error


def _in_order(details: dict[str, Any], names: Sequence[str] | None) -> list[Any]:
    """`details` in the order of `names`; empty when the names are not exactly those of the signature."""
    if names is None or sorted(names) != sorted(details):
        return []
    return [details[name] for name in names]


def _numbered(names: Iterable[str]) -> list[str]:
    """Those of `names` that are output_0, output_1, ..., in numeric order."""
    return sorted(filter(_NUMBERED_OUTPUT.fullmatch, names), key=lambda name: int(name.rpartition("_")[2]))


def _quantized(array: np.ndarray, detail: Any) -> np.ndarray:
    dtype = np.dtype(detail["dtype"])
    scale, zero_point = detail["quantization"]
    if scale and dtype.kind in "iu" and array.dtype.kind == "f":
        limits = np.iinfo(dtype)
        array = np.clip(np.round(array / scale) + zero_point, limits.min, limits.max)
    return np.ascontiguousarray(array, dtype)


def _dequantized(array: np.ndarray, detail: Any) -> np.ndarray:
    scale, zero_point = detail["quantization"]
    if scale and array.dtype.kind in "iu":
        return ((array.astype(np.float32) - zero_point) * scale).astype(np.float32)
    return array.astype(np.float32) if array.dtype.kind == "f" else array


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
