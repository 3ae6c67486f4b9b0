"""Replaying the graph of a Keras 2 model with Keras 3 layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeprune.errors import InputError
from edgeprune.interop.keras2_layers import keras3_layers, keras3_name
from edgeprune.interop.keras2_ops import apply_op
from edgeprune.interop.keras2_weights import copy_weights, is_wrapper, wrapped_weights

_RECURRENT = ("LSTM", "GRU", "SimpleRNN", "RNN", "Bidirectional", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D")
_OPS = ("TFOpLambda", "SlicingOpLambda")


def rebuild(model: Any) -> Any:
    """The Keras 3 model with the layers, graph, weights and trainable flags of a tf_keras `model`.

    Raises:
        InputError: a layer, function or setting has no counterpart in Keras 3, or the model is not a built graph.
    """
    replay = _Replay()
    new = replay.model(model)
    for old, weights, layer in replay.weights:
        copy_weights(old, weights, layer)
    # Setting a model's flag sets those of its layers, so the outer ones come first: they were made last.
    for layer, trainable in reversed(replay.trainable):
        layer.trainable = trainable
    return new


class _Replay:
    """One conversion: a layer that is used twice, in whatever model, becomes one layer that is used twice."""

    def __init__(self) -> None:
        self._made: dict[int, list[Any]] = {}
        self.weights: list[tuple[Any, list[np.ndarray], Any]] = []
        self.trainable: list[tuple[Any, bool]] = []

    def model(self, model: Any) -> Any:
        import tf_keras

        if isinstance(model, tf_keras.Sequential):
            new = self._sequential(model)
        elif getattr(model, "_is_graph_network", False):
            new = self._functional(model)
        else:
            raise InputError(
                f'"{model.name}" ({type(model).__name__}) is a subclassed model, whose layers are only connected in '
                "its code; write it as a functional model, keras.Model(inputs, outputs)"
            )
        self.trainable.append((new, bool(model.trainable)))
        return new

    def _sequential(self, model: Any) -> Any:
        import keras

        if not model.built or not model.inputs:
            raise InputError(
                f'"{model.name}" (Sequential) is not built, so it has no weights; call it on data and save it again'
            )
        new = keras.Sequential([_input(model.inputs[0], model.input_names[0])], name=keras3_name(model.name))
        for layer in model.layers:
            for made in self._layers(layer):
                new.add(made)
        return new

    def _functional(self, model: Any) -> Any:
        import keras
        import tensorflow as tf

        tensors = {
            id(tensor): _input(tensor, name) for tensor, name in zip(model.inputs, model.input_names, strict=True)
        }
        inputs = tf.nest.map_structure(lambda tensor: tensors[id(tensor)], model._nested_inputs)
        for depth in sorted(model._nodes_by_depth, reverse=True):
            for node in model._nodes_by_depth[depth]:
                if not node.is_input:
                    args = tf.nest.map_structure(lambda value: tensors.get(id(value), value), node.call_args)
                    kwargs = tf.nest.map_structure(lambda value: tensors.get(id(value), value), node.call_kwargs)
                    result = self._call(node.layer, args, kwargs)
                    tensors.update(_paired(node.layer, tf.nest.flatten(node.outputs), keras.tree.flatten(result)))
        outputs = tf.nest.map_structure(lambda tensor: tensors[id(tensor)], model._nested_outputs)
        try:
            return keras.Model(inputs, outputs, name=keras3_name(model.name))
        except ValueError as error:
            raise InputError(
                f'"{model.name}" can\'t be a Keras 3 model: {_one_line(error)}; rename its layers'
            ) from error

    def _call(self, layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if type(layer).__name__ in _OPS:
            return apply_op(layer, args, kwargs)
        kwargs = {key: value for key, value in kwargs.items() if value is not None}
        first, *others = self._layers(layer)
        if type(layer).__name__ in _RECURRENT and isinstance(args[0], (list, tuple)) and len(args) == 1:
            # Keras 2 records the states that a call begins with as further inputs.
            sequence, *states = args[0]
            args, kwargs = (sequence,), {**kwargs, "initial_state": states}
        try:
            result = first(*args, **kwargs)
            for other in others:
                result = other(result)
        except (ValueError, TypeError, AttributeError, NotImplementedError, IndexError) as error:
            raise InputError(
                f'layer "{layer.name}" ({type(layer).__name__}) can\'t be called in Keras 3 as in Keras 2: '
                f"{_one_line(error)}; rebuild this part in Keras 3"
            ) from error
        return result

    def _layers(self, layer: Any) -> list[Any]:
        """The Keras 3 layers for a layer, a nested model or a TFMOT wrapper around a layer."""
        import tf_keras

        inner = layer.layer if is_wrapper(layer) else layer
        if id(inner) not in self._made:
            if isinstance(inner, tf_keras.Model):
                self._made[id(inner)] = [self.model(inner)]
            elif type(inner).__name__ == "TimeDistributed":
                # The layer or model inside is converted like any other, with its weights and flags.
                self._made[id(inner)] = keras3_layers(inner, lambda held: _single(held, self._layers(held)))
                self.trainable.append((self._made[id(inner)][0], bool(inner.trainable)))
            else:
                self._made[id(inner)] = keras3_layers(inner, _part)
                main = next(made for made in self._made[id(inner)] if made.name == keras3_name(inner.name))
                self.weights.append((inner, wrapped_weights(layer), main))
                self.trainable.append((main, bool(inner.trainable)))
        return self._made[id(inner)]


def _part(layer: Any) -> Any:
    """A cell or a direction of a recurrent layer, whose weights are copied with those of the whole."""
    return _single(layer, keras3_layers(layer, _part))


def _single(layer: Any, made: list[Any]) -> Any:
    if len(made) > 1:
        raise InputError(
            f'layer "{layer.name}" has an activation that needs a layer of its own inside another layer; take it out'
        )
    return made[0]


def _input(tensor: Any, name: str) -> Any:
    import keras
    import tensorflow as tf

    if not isinstance(tensor.type_spec, tf.TensorSpec):
        raise InputError(f'input "{name}" is sparse or ragged, which Keras 3 does not have; make it dense')
    return keras.Input(batch_shape=tuple(tensor.shape), dtype=tensor.dtype.name, name=keras3_name(name))


def _paired(layer: Any, old: list[Any], new: list[Any]) -> dict[int, Any]:
    """The outputs of a call by the Keras 2 tensor they stand for.

    Shapes are left to the comparison at the end: Keras 3.15 names a wrong one for attention scores.
    """
    shown, received = [tensor.dtype.name for tensor in old], [str(tensor.dtype) for tensor in new]
    if shown != received:
        raise InputError(
            f'layer "{layer.name}" ({type(layer).__name__}) gives {", ".join(shown)} in Keras 2 and '
            f"{', '.join(received)} in Keras 3; rebuild this part in Keras 3"
        )
    return {id(tensor): other for tensor, other in zip(old, new, strict=True)}


def _one_line(error: object) -> str:
    return " ".join(str(error).split())[:200]
