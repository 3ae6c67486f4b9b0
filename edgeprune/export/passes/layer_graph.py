"""A model's calls as a flat list that passes edit; the Keras model is made anew, once, at the end.

Nested functional and Sequential models are read through, so a pass sees one list. Tensors are placeholders of the
list's own: the model that was read is never touched. Layers that passes do not replace keep their name, weights and
trainable flag.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeprune.errors import InputError
from edgeprune.keras_graph import functional_graph, nested_graph, nodes_in_order


@dataclass(eq=False)
class Call:
    """One call of a layer or of a `keras.ops` operation; args and kwargs hold placeholder tensors."""

    operation: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: list[Any]

    @property
    def tensors(self) -> list[Any]:
        """The placeholder tensors that the call reads, in argument order."""
        import keras

        return [value for value in keras.tree.flatten((self.args, self.kwargs)) if isinstance(value, keras.KerasTensor)]

    @property
    def output(self) -> Any:
        """The output of a call that has one."""
        return self.outputs[0]

    @property
    def name(self) -> str:
        return str(self.operation.name)


class LayerGraph:
    """Calls in execution order with what they read. Made by `read_model`; `build` gives the Keras model."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []
        self.calls: list[Call] = []
        self.edits = 0

    def producer(self, tensor: Any) -> Call | None:
        """The call that makes a tensor; None for a model input."""
        return next((call for call in self.calls if any(made is tensor for made in call.outputs)), None)

    def readers(self, tensor: Any) -> list[Call]:
        return [call for call in self.calls if any(read is tensor for read in call.tensors)]

    def is_output(self, tensor: Any) -> bool:
        return any(output is tensor for output in self.outputs)

    def only_reader(self, tensor: Any) -> Call | None:
        """The call that alone reads a tensor, which is no model output."""
        readers = self.readers(tensor)
        return readers[0] if len(readers) == 1 and not self.is_output(tensor) else None

    def is_shared(self, call: Call) -> bool:
        """Whether the layer is called more than once; changing it for one call would change the others."""
        return sum(other.operation is call.operation for other in self.calls) > 1

    def insert(self, before: Call | None, operation: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Add a call of a new layer or of a `keras.ops` function in front of another call (None: at the end).

        Returns the new output tensor. A layer is built by this, so its weights can be set afterwards.
        """
        output = operation(*args, **kwargs)
        node = output._keras_history.operation._inbound_nodes[-1]
        placeholder = _placeholder(output)
        call = Call(node.operation, node.arguments.args, node.arguments.kwargs, [placeholder])
        position = len(self.calls) if before is None else self._position(before)
        self.calls.insert(position, call)
        self.edits += 1
        return placeholder

    def replace(self, call: Call, tensor: Any) -> None:
        """Let all readers of a call's output, and the model's outputs, read `tensor`. The call is removed, and with it
        what was computed for it alone."""
        self.redirect(self.readers(call.output), call.output, tensor)
        self.outputs = [tensor if output is call.output else output for output in self.outputs]
        self._remove(call)

    def redirect(self, readers: list[Call], old: Any, new: Any) -> None:
        """Let these calls read `new` where they read `old`."""
        import keras

        for call in readers:
            call.args, call.kwargs = keras.tree.map_structure(
                lambda value: new if value is old else value, (call.args, call.kwargs)
            )
        self.edits += 1

    def _remove(self, call: Call) -> None:
        self.calls.pop(self._position(call))
        for tensor in call.tensors:
            source = self.producer(tensor)
            if source and not any(self.readers(made) or self.is_output(made) for made in source.outputs):
                self._remove(source)

    def _position(self, call: Call) -> int:
        return next(position for position, other in enumerate(self.calls) if other is call)

    def build(self) -> Any:
        """The edited model: new layers with the same weights, inputs and outputs of the same shapes and names.

        Raises:
            InputError: a layer can't be made again from its config.
        """
        import keras

        new_inputs = [
            keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=original._keras_history.operation.name)
            for tensor, original in zip(self.inputs, self.model.inputs, strict=True)
        ]
        tensors = {id(old): new for old, new in zip(self.inputs, new_inputs, strict=True)}
        made: dict[int, Any] = {}
        names = {layer.name for layer in (tensor._keras_history.operation for tensor in new_inputs)}
        # names of outputs that another call makes now; a layer that had one and stays gets a number
        moved = {
            original._keras_history.operation.name
            for old, original in zip(self.outputs, self.model.outputs, strict=True)
            if (maker := self.producer(old)) is not None and maker.name != original._keras_history.operation.name
        }
        for call in self.calls:
            key = id(call.operation)
            if key not in made:
                made[key] = _remake(call, _free_name(call.name, names | moved))
                names.add(made[key].name)
            args, kwargs = keras.tree.map_structure(
                lambda value: tensors.get(id(value), value), (call.args, call.kwargs)
            )
            outputs = keras.tree.flatten(made[key](*args, **kwargs))
            tensors.update({id(old): new for old, new in zip(call.outputs, outputs, strict=True)})
        for call in self.calls:
            copy_state(call.operation, made[id(call.operation)])
        new_outputs = [
            _named(tensors[id(old)], original, names)
            for old, original in zip(self.outputs, self.model.outputs, strict=True)
        ]
        if isinstance(self.model, keras.Sequential):
            return keras.Model(new_inputs[0], new_outputs[0], name=self.model.name)
        return keras.Model(
            keras.tree.pack_sequence_as(self.model._inputs_struct, new_inputs),
            keras.tree.pack_sequence_as(self.model._outputs_struct, new_outputs),
            name=self.model.name,
        )


def read_model(model: Any) -> LayerGraph:
    """Read a functional or built Sequential model, nested ones included.

    Raises:
        InputError: the model is subclassed or not built.
    """
    functional = functional_graph(model)
    if functional is None:
        raise InputError(
            f'the model "{model.name}" ({type(model).__name__}) is not a functional or built Sequential model, so its '
            "layers can't be rewritten; build it from keras.Input with layers called on tensors"
        )
    graph = LayerGraph(model)
    graph.inputs = [_placeholder(tensor) for tensor in functional.inputs]
    graph.outputs = _read(functional, graph.inputs, graph.calls)
    return graph


def remade(layer: Any, **changes: Any) -> Any:
    """A new layer of the same class with some of its config changed; without weights until it is called."""
    return type(layer).from_config({**layer.get_config(), **changes})


def copy_state(old: Any, new: Any) -> None:
    """Give a remade operation the variables and trainable flag of the old one."""
    for source, destination in zip(getattr(old, "variables", ()), getattr(new, "variables", ()), strict=True):
        if old is not new:
            destination.assign(np.asarray(source))
    if hasattr(new, "finalize_state"):  # Normalization computes with copies of its variables
        new.finalize_state()
    if getattr(new, "trainable", None) != getattr(old, "trainable", None):
        new.trainable = old.trainable


def _read(functional: Any, inputs: list[Any], calls: list[Call]) -> list[Any]:
    """Append a functional graph's calls on placeholder inputs; returns the placeholders of its outputs."""
    import keras

    tensors = {id(tensor): given for tensor, given in zip(functional.inputs, inputs, strict=True)}
    for node in nodes_in_order(functional):
        read = [tensors[id(tensor)] for tensor in node.arguments.keras_tensors]
        nested = nested_graph(node)
        if nested is not None:
            made = _read(nested, read, calls)
        else:
            args, kwargs = node.arguments.fill_in(tensors)
            made = [_placeholder(tensor) for tensor in node.outputs]
            if any(old.shape != new.shape for old, new in zip(node.arguments.keras_tensors, read, strict=True)):
                spec = node.operation.compute_output_spec(*args, **kwargs)  # a nested model called on another size
                made = [_placeholder(tensor) for tensor in keras.tree.flatten(spec)]
            calls.append(Call(node.operation, args, kwargs, made))
        tensors.update({id(old): new for old, new in zip(node.outputs, made, strict=True)})
    return [tensors[id(tensor)] for tensor in functional.outputs]


def _placeholder(tensor: Any) -> Any:
    import keras

    return keras.KerasTensor(tensor.shape, dtype=tensor.dtype, sparse=tensor.sparse)


def _free_name(name: str, taken: set[str]) -> str:
    """The name itself; with a number behind it when another layer (of a nested model) has it already."""
    free, number = name, 0
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    return free


def _remake(call: Call, name: str) -> Any:
    operation = call.operation
    try:
        config = operation.get_config()
        if "name" in config:
            config["name"] = name
        return type(operation).from_config(config)
    except (NotImplementedError, TypeError, ValueError) as error:
        if not getattr(operation, "variables", ()):
            return operation  # a Lambda, say: nothing in it to train, so both models may use it
        raise InputError(
            f'the layer "{operation.name}" ({type(operation).__name__}) can\'t be made again from its config: '
            f"{' '.join(str(error).split())}; give it a get_config() that returns its constructor's arguments"
        ) from error


def _named(tensor: Any, original: Any, names: set[str]) -> Any:
    """The tensor under the old output's name: a copy operation carries it where a pass replaced the last layer."""
    import keras

    wanted = original._keras_history.operation.name
    if tensor._keras_history.operation.name == wanted or wanted in names:
        return tensor
    names.add(wanted)
    return keras.layers.Identity(name=wanted)(tensor)
