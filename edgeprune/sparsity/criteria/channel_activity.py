"""Where a kernel's output channels become activations, and how often those are not zero.

Follows the graph of functional and Sequential models, nested ones included. A layer's activation is its own one where
it has one; otherwise that of the activation layer that alone reads its output, in the same model and with only
BatchNormalization and Dropout between.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from edgeprune.sparsity.weights import PrunableWeight

# Functions of keras.ops in a functional graph.
_OPERATIONS = ("Relu", "Relu6")


@dataclass(frozen=True, eq=False)
class Tap:
    """One place where the channels of a weight can be watched.

    number: of the weight. tensor: symbolic, after the activation. axes: the tensor's axes, counted from its end, in the
    order of the kernel's output axes.
    """

    number: int
    tensor: Any
    axes: tuple[int, ...]


class ChannelActivity:
    """The taps of one graph and of the models nested in it; calling it runs the graph in inference mode."""

    def __init__(self, graph: Any, inputs: Any, weights: Sequence[PrunableWeight]) -> None:
        import keras

        self._taps = tuple(_taps(graph, weights))
        self._nested: list[ChannelActivity] = []
        tensors = [tap.tensor for tap in self._taps]
        for node in _nodes(graph):
            inner = graph_of(node.operation)
            if inner is not None and len(inner.inputs) == len(node.input_tensors):
                nested = ChannelActivity(inner, list(inner.inputs), weights)
                if nested.numbers:
                    self._nested.append(nested)
                    tensors += node.input_tensors
        self._model = keras.Model(inputs, tensors, name="channel_activity") if tensors else None

    @property
    def numbers(self) -> tuple[int, ...]:
        """The weights that are watched, one number per result of a call; shared ones several times."""
        return (*(tap.number for tap in self._taps), *(number for nested in self._nested for number in nested.numbers))

    def __call__(self, x: Any) -> list[tuple[Any, Any]]:
        """(activations that are not zero, all activations) per number: int64 tensors, the first one with an axis per
        output axis of the kernel, the second a scalar: how many one channel has."""
        import keras

        if self._model is None:
            return []
        # a single output may come back without its list
        values = keras.tree.flatten(self._model(x, training=False))
        found = [_count(values.pop(0), tap.axes) for tap in self._taps]
        for nested in self._nested:
            own = len(nested.inputs)
            found += nested(values[:own])
            del values[:own]
        return found

    @property
    def inputs(self) -> list[Any]:
        """The graph's inputs as a flat list."""
        return list(self._model.inputs) if self._model is not None else []


def graph_of(operation: Any) -> Any | None:
    """The functional graph that a model runs; None for a class with a `call` of its own and for all other layers."""
    import keras

    if isinstance(operation, keras.Sequential):
        return operation._functional
    if not isinstance(operation, keras.Model) or not hasattr(operation, "_nodes_by_depth"):
        return None
    return operation if type(operation).call.__module__.startswith("keras.") else None


def _taps(graph: Any, weights: Sequence[PrunableWeight]) -> Iterator[Tap]:
    owned: dict[int, list[tuple[int, tuple[int, ...]]]] = {}
    for number, weight in enumerate(weights):
        axes = _channel_axes(weight)
        if axes:
            owned.setdefault(id(weight.layer), []).append((number, axes))
    readers: dict[int, list[Any]] = {id(tensor): [None] for tensor in graph.outputs}
    for node in _nodes(graph):
        for tensor in node.input_tensors:
            readers.setdefault(id(tensor), []).append(node)
    for node in _nodes(graph):
        for number, axes in owned.get(id(node.operation), []):
            tensor = _activation(node, readers)
            if tensor is not None:
                yield Tap(number, tensor, axes)


def _nodes(graph: Any) -> list[Any]:
    """The graph's calls in execution order, inputs left out."""
    depths = sorted(graph._nodes_by_depth, reverse=True)
    return [node for depth in depths for node in graph._nodes_by_depth[depth] if node.operation and not node.is_input]


def _activation(node: Any, readers: dict[int, list[Any]]) -> Any | None:
    """The symbolic tensor after the activation that follows a call; None when there is none."""
    import keras

    layers = keras.layers
    passing = (layers.BatchNormalization, layers.Dropout)
    activating = (layers.ReLU, layers.LeakyReLU, layers.PReLU, layers.ELU)
    while True:
        if getattr(node.operation, "activation", None) not in (None, keras.activations.linear):
            return node.outputs[0]
        reading = readers.get(id(node.outputs[0]), [])
        if len(reading) != 1 or reading[0] is None:
            return None
        node = reading[0]
        operation = node.operation
        if isinstance(operation, activating) or _is_relu(operation):
            return node.outputs[0]
        if not isinstance(operation, (*passing, layers.Activation)):
            return None


def _is_relu(operation: Any) -> bool:
    kind = type(operation)
    return kind.__name__ in _OPERATIONS and kind.__module__.startswith("keras.")


def _channel_axes(weight: PrunableWeight) -> tuple[int, ...]:
    """The axes of the layer's output, counted from its end, that the kernel's output axes make; () for none."""
    import keras

    layer = weight.layer
    if weight.outputs == 0 or isinstance(layer, keras.layers.Embedding):
        return ()
    if isinstance(layer, keras.layers.EinsumDense):
        operands, result = layer.equation.replace(" ", "").split("->")
        letters = operands.split(",")[1]
        outputs = weight.order[weight.positions : weight.positions + weight.outputs]
        axes = tuple(result.index(letters[axis]) - len(result) for axis in outputs)
        # what stands before "..." can't be counted from the end
        return axes if all("..." not in result[axis:] for axis in axes) else ()
    if getattr(layer, "data_format", "channels_last") == "channels_first":
        return (-1 - layer.rank,)
    return (-1,)


def _count(value: Any, axes: tuple[int, ...]) -> tuple[Any, Any]:
    import tensorflow as tf

    rank = len(value.shape)
    kept = [rank + axis for axis in axes]
    others = [axis for axis in range(rank) if axis not in kept]
    nonzero = tf.math.count_nonzero(value, axis=others, dtype=tf.int64)
    shape = tf.shape(value, out_type=tf.int64)
    in_order = sorted(kept)
    return (
        tf.transpose(nonzero, [in_order.index(axis) for axis in kept]),
        tf.reduce_prod(tf.gather(shape, others)),
    )
