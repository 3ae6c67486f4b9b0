"""The weights of a model that can be made sparse, and how the runtime will read them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edgeprune.errors import InputError

# Where a layer class keeps its kernels and on which axes: the axes that make outputs and those that are summed over, in
# the order TFLite stores them ([out, h, w, in]); all others are positions.
_KERNELS: dict[str, dict[str, tuple[tuple[int, ...], tuple[int, ...]]]] = {
    "Dense": {"_kernel": ((1,), (0,))},
    "Conv1D": {"_kernel": ((2,), (1,))},
    "Conv2D": {"_kernel": ((3,), (2,))},
    "Conv3D": {"_kernel": ((3,), (4,))},  # the exception: TFLite stores [d, h, w, in, out]
    "Conv1DTranspose": {"kernel": ((1,), (2,))},
    "Conv2DTranspose": {"kernel": ((2,), (3,))},
    "Conv3DTranspose": {"kernel": ((3,), (4,))},
    "SeparableConv1D": {"pointwise_kernel": ((2,), (1,))},
    "SeparableConv2D": {"pointwise_kernel": ((3,), (2,))},
    "LSTMCell": {"kernel": ((1,), (0,)), "recurrent_kernel": ((1,), (0,))},
    "GRUCell": {"kernel": ((1,), (0,)), "recurrent_kernel": ((1,), (0,))},
    "SimpleRNNCell": {"kernel": ((1,), (0,)), "recurrent_kernel": ((1,), (0,))},
}
# Pruned only when asked for by name or type: few weights, and the runtime has no sparse kernel for them.
_ON_REQUEST: dict[str, dict[str, tuple[tuple[int, ...], tuple[int, ...]]]] = {
    "DepthwiseConv1D": {"kernel": ((), (1, 2))},
    "DepthwiseConv2D": {"kernel": ((), (2, 3))},
    "Embedding": {"_embeddings": ((0,), (1,))},
}


@dataclass(frozen=True, eq=False)
class PrunableWeight:
    """One kernel of a model.

    path: "layer/kernel", from the model's own layers down, the same after saving and loading. variable: the Keras
    variable. layer: the layer object that owns it.
    order: the variable's axes as (positions..., outputs..., inputs...); `positions`, `outputs`: how many of each come
    first. Inputs are what TFLite stores innermost.
    """

    path: str
    variable: Any
    layer: Any
    order: tuple[int, ...]
    positions: int
    outputs: int

    @property
    def shape(self) -> tuple[int, ...]:
        """The variable's shape, in Keras layout."""
        return tuple(int(length) for length in self.variable.shape)

    @property
    def size(self) -> int:
        """Number of weights."""
        return int(np.prod(self.shape, dtype=np.int64))

    def runtime_view(self, value: np.ndarray) -> np.ndarray:
        """An array of the variable's shape as (positions, outputs, inputs): the last axis is what the runtime reads
        in sequence. A copy or a view."""
        shape = [value.shape[axis] for axis in self.order]
        head, middle = self.positions, self.positions + self.outputs
        sizes = (_product(shape[:head]), _product(shape[head:middle]), _product(shape[middle:]))
        return np.transpose(value, self.order).reshape(sizes)

    def keras_view(self, value: np.ndarray) -> np.ndarray:
        """The inverse of `runtime_view`."""
        shape = [self.shape[axis] for axis in self.order]
        return np.transpose(value.reshape(shape), np.argsort(self.order))


def _product(lengths: list[int]) -> int:
    return int(np.prod(lengths, dtype=np.int64))


def prunable_weights(model: Any) -> tuple[PrunableWeight, ...]:
    """Every kernel that can be made sparse, shared ones once, in the order of the model's variables.

    Depthwise kernels and embeddings are among them; `layer_filter` leaves them out unless they are asked for.

    Raises:
        InputError: the model is not built, or Keras runs on another backend than TensorFlow.
    """
    import keras

    if not isinstance(model, keras.Model):
        raise InputError(f"a keras.Model is needed, received {type(model).__name__}; load a file with load_model")
    if keras.backend.backend() != "tensorflow":
        raise InputError(
            f"pruning needs Keras on TensorFlow, not {keras.backend.backend()}; set KERAS_BACKEND=tensorflow"
        )
    if not model.built or not model.variables:
        raise InputError(
            f'the model "{model.name}" is not built, so it has no weights to prune; call model.build(input_shape) or '
            "give it an Input before training"
        )
    found: dict[int, PrunableWeight] = {}
    for layer in _layers(model):
        for weight in _kernels_of(layer):
            own = replace(weight, path=path_in(model, weight.variable))
            found.setdefault(id(weight.variable), own)
    order = {id(variable): number for number, variable in enumerate(model.variables)}
    return tuple(sorted((w for w in found.values() if id(w.variable) in order), key=lambda w: order[id(w.variable)]))


def path_in(model: Any, variable: Any) -> str:
    """A variable's path from the model's own layers down.

    Keras puts a Sequential's own name before them when it is made, and not when it is loaded.
    """
    return str(variable.path).removeprefix(f"{model.name}/")


def default_is_pruned(weight: PrunableWeight) -> bool:
    """Whether a weight is pruned when nothing is said about it."""
    return type(weight.layer).__name__ not in _ON_REQUEST


def _layers(model: Any) -> Iterator[Any]:
    """All layers, nested ones and wrapped cells included."""
    return iter(model._flatten_layers(include_self=False, recursive=True))


def _kernels_of(layer: Any) -> Iterator[PrunableWeight]:
    import keras

    if isinstance(layer, keras.layers.EinsumDense):
        weight = _einsum_kernel(layer)
        if weight is not None:
            yield weight
        return
    for kind in type(layer).__mro__:
        axes = _KERNELS.get(kind.__name__) or _ON_REQUEST.get(kind.__name__)
        if axes and kind.__module__.startswith("keras."):
            for attribute, (outputs, inputs) in axes.items():
                variable = getattr(layer, attribute, None)
                if variable is not None and _is_float(variable):
                    yield _weight(layer, variable, outputs, inputs)
            return


def _einsum_kernel(layer: Any) -> PrunableWeight | None:
    """The kernel of "abc,cd->abd": letters that the output lacks are summed over."""
    variable = getattr(layer, "_kernel", None)
    if variable is None or not _is_float(variable):
        return None
    operands, result = layer.equation.replace(" ", "").replace("...", "").split("->")
    letters = operands.split(",")[1]
    inputs = tuple(axis for axis, letter in enumerate(letters) if letter not in result)
    outputs = tuple(axis for axis, letter in enumerate(letters) if letter in result)
    return _weight(layer, variable, outputs, inputs)


def _is_float(variable: Any) -> bool:
    """False for the integers of a quantized layer."""
    return "float" in str(variable.dtype)


def _weight(layer: Any, variable: Any, outputs: tuple[int, ...], inputs: tuple[int, ...]) -> PrunableWeight:
    positions = tuple(axis for axis in range(len(variable.shape)) if axis not in outputs and axis not in inputs)
    return PrunableWeight(variable.path, variable, layer, (*positions, *outputs, *inputs), len(positions), len(outputs))
