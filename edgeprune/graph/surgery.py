"""Surgery: rebuild a Keras model with fewer channels, weights carried over.

The graph is replayed call by call with new layers, made from the old layers' configs with the kept lengths.
Names, nesting, sharing, input and output structure and the compiled state stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from edgeprune.errors import InputError
from edgeprune.graph.rules.table import rule_for
from edgeprune.graph.trace import Trace
from edgeprune.keras_graph import functional_graph, nested_graph, nodes_in_order


def remove_channels(model: Any, trace: Trace, keep_ids: np.ndarray) -> Any:
    """A new model without the channels whose ids are not kept.

    Args:
        model: the traced model; it is not changed.
        keep_ids: (ids,) bool from `Groups.keep_ids`.

    Raises:
        InputError: a layer can't be made again from its config.
    """
    smaller = rebuild(model, trace, keep_ids)
    copy_compiled_state(model, smaller)
    return smaller


def rebuild(
    model: Any,
    trace: Trace,
    keep_ids: np.ndarray,
    skipped: frozenset[int] = frozenset(),
    aliases: Mapping[int, int] = MappingProxyType({}),
) -> Any:
    """Replay a model with the kept ids only, weights and trainable flags carried over, not compiled.

    Calls whose Keras node is in `skipped` (by id()) are left out; `aliases` says which tensor stands for one that
    they made.
    """
    replay = _Rebuild(trace, keep_ids, skipped, aliases)
    smaller = replay.model(model, [tuple(tensor.shape) for tensor in functional_graph(model).inputs])
    replay.models.append((model, smaller))
    replay.copy_weights()
    replay.copy_trainable()
    return smaller


class _Rebuild:
    def __init__(self, trace: Trace, keep_ids: np.ndarray, skipped: frozenset[int], aliases: Mapping[int, int]) -> None:
        self.keep_ids = keep_ids
        self.skipped = skipped
        self.aliases = aliases
        self.weights = trace.context.weights
        self.masks: dict[int, dict[str, np.ndarray]] = {}
        for (operation, name), ids in trace.context.layer_ids.items():
            if operation in trace.context.frozen_operations:
                continue  # made again and called just as it is
            self.masks.setdefault(operation, {})[name] = keep_ids[ids]
        self.made: dict[int, Any] = {}
        self.pairs: list[tuple[Any, Any]] = []
        self.models: list[tuple[Any, Any]] = []

    def model(self, model: Any, input_shapes: list[tuple[int | None, ...]]) -> Any:
        """Replay one model (or nested model) on new inputs of the given shapes."""
        import keras

        graph = functional_graph(model)
        new_inputs = []
        for tensor, incoming_shape in zip(graph.inputs, input_shapes, strict=True):
            layer = tensor._keras_history.operation
            # A length that the model leaves open stays open: it may be called on several sizes.
            shape = [None if old is None else new for old, new in zip(tensor.shape, incoming_shape, strict=True)]
            new_inputs.append(keras.Input(batch_shape=shape, dtype=tensor.dtype, name=layer.name, sparse=tensor.sparse))
        tensors = {id(old): new for old, new in zip(graph.inputs, new_inputs, strict=True)}
        for node in nodes_in_order(graph):
            if id(node) in self.skipped:
                for made in node.outputs:
                    if id(made) in self.aliases:
                        tensors[id(made)] = tensors[self.aliases[id(made)]]
                continue
            args, kwargs = self._arguments(node, tensors)
            incoming = [tuple(tensors[id(tensor)].shape) for tensor in node.arguments.keras_tensors]
            outputs = keras.tree.flatten(self.operation(node, incoming)(*args, **kwargs))
            tensors.update({id(old): new for old, new in zip(node.outputs, outputs, strict=True)})

        if isinstance(model, keras.Sequential):
            new = keras.Sequential(name=model.name)
            new.add(keras.Input(batch_shape=new_inputs[0].shape, dtype=graph.inputs[0].dtype, name=new_inputs[0].name))
            for layer in model.layers:  # a Sequential has no additions, so none of its layers is skipped
                new.add(self.made[id(layer)])
            return new
        inputs = keras.tree.pack_sequence_as(model._inputs_struct, new_inputs)
        outputs = keras.tree.map_structure(lambda tensor: tensors[id(tensor)], model._outputs_struct)
        return _model_class(model)(inputs=inputs, outputs=outputs, name=model.name)

    def operation(self, node: Any, input_shapes: list[tuple[int | None, ...]]) -> Any:
        """The new operation for the old one of a call; shared operations and models are made once."""
        operation = node.operation
        key = id(operation)
        if key not in self.made:
            if nested_graph(node) is not None:
                self.made[key] = self.model(operation, input_shapes)
                self.models.append((operation, self.made[key]))
            else:
                self.made[key] = self._remake(operation)
                self.pairs.append((operation, self.made[key]))
        return self.made[key]

    def _arguments(self, node: Any, tensors: dict[int, Any]) -> Any:
        """A call's arguments with the new tensors, and with slices and constants cut to the kept channels."""
        args, kwargs = node.arguments.fill_in(tensors)
        rule = rule_for(node.operation)
        masks = self.masks.get(id(node.operation))
        if rule is None or rule.rewrite is None or masks is None:
            return args, kwargs
        return rule.rewrite(args, kwargs, masks)

    def _remake(self, operation: Any) -> Any:
        rule = rule_for(operation)
        masks = self.masks.get(id(operation))
        try:
            config = operation.get_config()
            if rule is not None and masks is not None:
                config = rule.resize(config, {name: int(mask.sum()) for name, mask in masks.items()})
            return type(operation).from_config(config)
        except (NotImplementedError, TypeError, ValueError) as error:
            if masks is None and not getattr(operation, "variables", ()):
                return operation  # nothing in it to cut or to train (a Lambda, keras.ops.map): both models may use it
            raise InputError(
                f'the layer "{operation.name}" ({type(operation).__name__}) can\'t be made again from its config: '
                f"{error}; give it a get_config() that returns its constructor's arguments"
            ) from error

    def copy_weights(self) -> None:
        """Copy every variable, cut to the kept ids on the axes that carry ids."""
        for old, new in self.pairs:
            for source, destination in zip(getattr(old, "variables", ()), getattr(new, "variables", ()), strict=True):
                value = np.asarray(source)
                found = self.weights.get(id(source))
                for axis, ids in found.axes.items() if found else ():
                    value = np.compress(self.keep_ids[ids], value, axis=axis)
                destination.assign(value)
            if hasattr(new, "finalize_state"):  # Normalization computes with copies of its variables
                new.finalize_state()

    def copy_trainable(self) -> None:
        """Copy what is frozen for training. Setting it on a model sets it on all its layers, so outer models go first
        and layers last."""
        for old, new in (*reversed(self.models), *self.pairs):
            if getattr(new, "trainable", None) != getattr(old, "trainable", None):
                new.trainable = old.trainable


def _model_class(model: Any) -> Callable[..., Any]:
    """The model's own class when it is built from inputs and outputs, else keras.Model."""
    import inspect

    import keras

    parameters = inspect.signature(type(model).__init__).parameters
    takes_graph = {"inputs", "outputs", "name"} <= set(parameters) or "args" in parameters
    return type(model) if takes_graph else keras.Model


def copy_compiled_state(model: Any, smaller: Any) -> None:
    """Compile `smaller` as `model` was compiled, with fresh optimizer and metric objects."""
    import keras

    if not getattr(model, "compiled", False):
        return
    arguments = dict(model._compile_config.config)
    arguments["optimizer"] = type(model.optimizer).from_config(model.optimizer.get_config())

    def fresh(value: Any) -> Any:
        return type(value).from_config(value.get_config()) if isinstance(value, keras.metrics.Metric) else value

    for name in ("metrics", "weighted_metrics"):
        if arguments.get(name) is not None:
            arguments[name] = keras.tree.map_structure(fresh, arguments[name])
    smaller.compile(**arguments)
    smaller.optimizer.build(smaller.trainable_variables)
