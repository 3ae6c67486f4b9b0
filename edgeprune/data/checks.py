"""Does labelled data fit the model? Every refusal names what was received and what the model takes.

All functions take raw arrays with the batch axis first and raise InputError; none copies a whole array.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edgeprune.data.labels import LabelLayout, layout_of
from edgeprune.data.signature import Port, Signature, shapes_agree
from edgeprune.data.structure import part_name
from edgeprune.errors import InputError

_CHUNK_BYTES = 32 * 2**20


def check_arrays(
    x: tuple[np.ndarray, ...], y: tuple[np.ndarray, ...], signature: Signature, where: str
) -> tuple[LabelLayout, ...]:
    """Check every value of x and y against the model and say how the labels of each output are laid out.

    where: "training data", "train.npz", ... for messages.

    Raises:
        InputError: no samples, different lengths, a shape or type the model doesn't take, NaN or infinite values,
            class labels outside the output.
    """
    for index, array in enumerate(x):
        check_input(array, signature.inputs[index], f"{where}: {part_name(signature.inputs, index, 'x')}")
    layouts = tuple(
        check_labels(array, signature.outputs[index], f"{where}: {part_name(signature.outputs, index, 'y')}")
        for index, array in enumerate(y)
    )
    names = [part_name(signature.inputs, index, "x") for index in range(len(x))]
    names += [part_name(signature.outputs, index, "y") for index in range(len(y))]
    lengths = [len(array) for array in (*x, *y)]
    for name, length in zip(names, lengths, strict=True):
        if length != lengths[0]:
            raise InputError(
                f"{where}: {names[0]} has {lengths[0]} samples but {name} has {length}; give one label per sample"
            )
    return layouts


def check_input(array: np.ndarray, port: Port, name: str) -> None:
    """Check one input: (n, *port.shape) of finite numbers, n > 0."""
    _check_numbers(array, name)
    _check_not_empty(array, name)
    shape = array.shape[1:]
    if not shapes_agree(shape, port.shape):
        raise InputError(
            f"{name} has samples of shape {_show(shape)}, the model's input is {_show(port.shape)}"
            f"{_shape_hint(shape, port.shape)}"
        )
    _check_finite(array, name)


def check_labels(array: np.ndarray, port: Port, name: str) -> LabelLayout:
    """Check one output's labels and say how they are laid out."""
    _check_numbers(array, name)
    _check_not_empty(array, name)
    layout = layout_of(array.shape[1:], port)
    if layout is None:
        raise _misfit(array.shape[1:], port, name)
    _check_finite(array, name)
    if layout.classes:
        _check_classes(array, port, name)
    elif port.shape and port.shape[-1] == 1 and port.activation == "sigmoid" and array.dtype.kind in "iu":
        low, high = int(array.min()), int(array.max())
        if low < 0 or high > 1:
            raise InputError(
                f"{name} has labels {low}..{high}, but the model's output is one sigmoid unit and knows only 0 and 1; "
                "give 0/1 labels, or a model with one unit per class"
            )
    return layout


def _check_classes(array: np.ndarray, port: Port, name: str) -> None:
    width = port.shape[-1]
    if array.dtype.kind == "f":
        for chunk in _chunks(array):
            fractions = chunk != np.floor(chunk)
            if fractions.any():
                raise InputError(
                    f"{name} has class labels that are not whole numbers (e.g. {chunk[fractions].flat[0]:g}), "
                    f"but the model's output has {width} values per sample; "
                    f"give class numbers, or targets of shape {_show(port.shape)}"
                )
    low, high = int(array.min()), int(array.max())
    if low < 0:
        raise InputError(f"{name} has the negative label {low}; class labels go from 0 to {_last(width)}")
    if width is not None and high >= width:
        starts_at_one = (low, high) == (1, width)
        advice = "they seem to start at 1: subtract 1" if starts_at_one else "use a model with one unit per class"
        raise InputError(
            f"{name} has labels {low}..{high}, but the model's output has {width} classes (0..{width - 1}); {advice}"
        )


def _misfit(shape: tuple[int, ...], port: Port, name: str) -> InputError:
    width = port.shape[-1] if port.shape else 1
    same_rank = len(shape) == len(port.shape) and shape[:-1] == port.shape[:-1]
    if same_rank and shape and width is not None and width > 1:
        return InputError(
            f"{name} has {shape[-1]} values per sample (one-hot?), the model's output has {width}; "
            f"give one-hot rows of width {width} or class numbers 0..{width - 1}"
        )
    allowed = _show(port.shape)
    if port.shape and width != 1:
        allowed += f", or class numbers of shape {_show(port.shape[:-1])}"
    elif port.shape:
        allowed += f" or {_show(port.shape[:-1])}"
    return InputError(f"{name} has labels of shape {_show(shape)} per sample, the model's output takes {allowed}")


def _check_numbers(array: np.ndarray, name: str) -> None:
    if array.dtype.kind not in "biuf":
        raise InputError(
            f"{name} holds {array.dtype} values; only booleans, integers and floats can be used; "
            "convert it (all samples must have the same shape)"
        )


def _check_not_empty(array: np.ndarray, name: str) -> None:
    if array.ndim == 0:
        raise InputError(f"{name} is a single number; the first axis must be the samples")
    if array.size == 0:
        raise InputError(f"{name} is empty (shape {_show(array.shape)}); give at least one sample")


def _check_finite(array: np.ndarray, name: str) -> None:
    if array.dtype.kind != "f":
        return
    start = 0
    for chunk in _chunks(array):
        bad = ~np.isfinite(chunk)
        if bad.any():
            first = np.argwhere(bad)[0]
            value = "NaN" if np.isnan(chunk[tuple(first)]) else "an infinite value"
            raise InputError(
                f"{name} contains {value} (sample {start + int(first[0])}); remove or replace such values first"
            )
        start += len(chunk)


def _chunks(array: np.ndarray) -> Iterator[np.ndarray]:
    """Rows in pieces of about 32 MiB, so that checks need little memory beside the data (or a memory map)."""
    rows = max(1, _CHUNK_BYTES // max(1, array.nbytes // len(array)))
    for start in range(0, len(array), rows):
        yield array[start : start + rows]


def _shape_hint(shape: tuple[int, ...], allowed: tuple[int | None, ...]) -> str:
    if len(allowed) == len(shape) + 1 and allowed[-1] == 1 and shapes_agree(shape, allowed[:-1]):
        return ": the channel axis is missing; add it with x[..., None]"
    if len(allowed) == 3 and len(shape) == 2 and shapes_agree(shape, allowed[:-1]):
        return (
            f": the channel axis is missing; the model wants {allowed[-1]} channels (np.stack([x] * {allowed[-1]}, -1))"
        )
    if len(shape) == 3 and len(allowed) == 3:
        if shapes_agree((*shape[1:], shape[0]), allowed):
            return ": channels come first here; put them last with np.moveaxis(x, 1, -1)"
        if shapes_agree(shape[:-1], allowed[:-1]):
            return f": {shape[-1]} channels instead of {allowed[-1]}"
        return ": resize the samples"
    if None not in allowed and len(shape) == 1 and shape[0] == np.prod([size or 0 for size in allowed]):
        return f": the samples are flat; reshape with x.reshape((-1, {', '.join(map(str, allowed))}))"
    if len(shape) == len(allowed) + 1 and shape[-1] == 1 and shapes_agree(shape[:-1], allowed):
        return ": there is one axis too many; drop it with x[..., 0]"
    return ": reshape the samples"


def _show(shape: tuple[int | None, ...]) -> str:
    return (
        "(" + ", ".join("any" if size is None else str(size) for size in shape) + ("," if len(shape) == 1 else "") + ")"
    )


def _last(width: int | None) -> str:
    return "the number of classes - 1" if width is None else str(width - 1)
