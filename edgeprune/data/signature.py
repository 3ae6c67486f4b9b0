"""What a model takes and gives: the names, shapes and types that data must fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from edgeprune.data.loss_key import loss_key
from edgeprune.errors import InputError

Activation = Literal["softmax", "sigmoid", "linear"]

# Layers that hand values on unchanged in kind: softmax behind a Reshape is still softmax.
_PASSES_VALUES = {"Reshape", "Flatten", "Dropout", "Identity", "Permute"}


@dataclass(frozen=True)
class Port:
    """One input or output of a model.

    Attributes:
        name: the name data is found under (`x_<name>`, dictionary keys).
        shape: without the batch axis; None where the model leaves a size open.
        dtype: numpy name of the type the model computes with, e.g. "float32".
        activation: outputs only, what the values come out of; None when unknown.
        one_hot: outputs only, the compiled loss compares whole distributions (categorical crossentropy),
            so data that knows class numbers (a folder) gives one-hot rows.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    activation: Activation | None = None
    one_hot: bool = False


@dataclass(frozen=True)
class Signature:
    """Inputs and outputs in the order of `model.inputs` and `model.outputs`.

    `inputs_by_name`: the model was built on a dictionary of several inputs, so batches carry a dictionary.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    inputs_by_name: bool = False

    def pack_inputs(self, values: Sequence[Any]) -> Any:
        """Per-input values in the form the model takes: one value alone, a tuple, or a dictionary."""
        if len(values) == 1:
            return values[0]
        if self.inputs_by_name:
            return {port.name: value for port, value in zip(self.inputs, values, strict=True)}
        return tuple(values)

    def pack_outputs(self, values: Sequence[Any]) -> Any:
        """Per-output values (labels) in the form `fit` takes: one value alone, or a tuple in output order."""
        return values[0] if len(values) == 1 else tuple(values)

    def flat_inputs(self, x: Any) -> tuple[Any, ...]:
        """The inverse of `pack_inputs`."""
        return _flat(x, self.inputs)

    def flat_outputs(self, y: Any) -> tuple[Any, ...]:
        """The inverse of `pack_outputs`; also takes a dictionary by output name, as some models return."""
        return _flat(y, self.outputs)


def _flat(value: Any, ports: tuple[Port, ...]) -> tuple[Any, ...]:
    if isinstance(value, dict):
        return tuple(value[port.name] for port in ports)
    if isinstance(value, (tuple, list)):
        return tuple(value)
    return (value,)


def shapes_agree(shape: Sequence[int | None], allowed: Sequence[int | None]) -> bool:
    """Whether two shapes have the same rank and sizes, None on either side agreeing with any size."""
    return len(shape) == len(allowed) and all(
        size is None or limit is None or size == limit for size, limit in zip(shape, allowed, strict=True)
    )


def signature_of(keras_model: Any) -> Signature:
    """The signature of a built Sequential or Functional model.

    Raises:
        InputError: the model isn't built, or is subclassed and so has no symbolic inputs and outputs.
    """
    try:
        inputs, outputs = list(keras_model.inputs), list(keras_model.outputs)
    except (AttributeError, TypeError, ValueError) as error:
        kind = type(keras_model).__name__
        raise InputError(
            f"the model ({kind}) has no known input shape: only built Sequential and Functional models do; "
            "give --input-shape, or call the model once on an Input and save it again"
        ) from error
    input_struct = getattr(keras_model, "_inputs_struct", None)
    output_struct = getattr(keras_model, "_outputs_struct", None)
    loss = _compiled_loss(keras_model)
    output_names = [_port_name(tensor, output_struct) for tensor in outputs]
    return Signature(
        tuple(Port(_port_name(tensor, input_struct), _shape(tensor), _dtype(tensor)) for tensor in inputs),
        tuple(
            Port(name, _shape(tensor), _dtype(tensor), activation_of(tensor), _wants_one_hot(loss, name, index))
            for index, (name, tensor) in enumerate(zip(output_names, outputs, strict=True))
        ),
        inputs_by_name=isinstance(input_struct, dict) and len(inputs) > 1,
    )


def activation_of(tensor: Any) -> Activation | None:
    """What a symbolic Keras tensor's values come out of, as far as the layers say; None when unknown."""
    history = getattr(tensor, "_keras_history", None)
    if history is None:
        return None
    operation = history.operation
    kind = type(operation).__name__
    if kind in ("Softmax", "Sigmoid"):
        return "softmax" if kind == "Softmax" else "sigmoid"
    if hasattr(operation, "outputs") and hasattr(operation, "layers"):  # a nested model
        return activation_of(operation.outputs[history.tensor_index])
    if kind in _PASSES_VALUES:
        return activation_of(operation.input)
    name = getattr(getattr(operation, "activation", None), "__name__", None)
    if name is None and kind == "Operation":  # keras.ops.softmax(...) in a functional graph
        name = operation.name.rsplit("_", 1)[0] if operation.name[-1:].isdigit() else operation.name
        return name if name in ("softmax", "sigmoid") else None
    return name if name in ("softmax", "sigmoid", "linear") else None


def _port_name(tensor: Any, structure: Any) -> str:
    if isinstance(structure, dict):
        for key, value in structure.items():
            if value is tensor:
                return str(key)
    history = getattr(tensor, "_keras_history", None)
    return str(history.operation.name if history is not None else tensor.name)


def _shape(tensor: Any) -> tuple[int | None, ...]:
    return tuple(None if size is None else int(size) for size in tensor.shape[1:])


def _dtype(tensor: Any) -> str:
    dtype = str(tensor.dtype)
    # numpy has no bfloat16; the model casts float32 itself.
    return "float32" if dtype == "bfloat16" else dtype


def _compiled_loss(keras_model: Any) -> Any:
    config = getattr(keras_model, "_compile_config", None)
    return config.config.get("loss") if config is not None else None


def _wants_one_hot(loss: Any, output_name: str, index: int) -> bool:
    if isinstance(loss, dict) and "class_name" not in loss:
        loss = loss.get(output_name)
    elif isinstance(loss, (list, tuple)):
        loss = loss[index] if index < len(loss) else None
    return loss_key(loss) in ("categoricalcrossentropy", "categoricalfocalcrossentropy")
