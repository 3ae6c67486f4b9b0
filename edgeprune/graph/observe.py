"""Values of inner tensors: a model is replayed on real inputs and chosen tensors are kept, nested models included."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from edgeprune.keras_graph import functional_graph, nodes_in_order


def observer(model: Any, numbers: Sequence[int]) -> Callable[[Any], list[Any]]:
    """A compiled function from model inputs (as `model` takes them) to the values of the tensors that a Trace of
    the same model calls by these numbers, in inference mode."""
    import keras
    import tensorflow as tf

    wanted = set(numbers)

    @tf.function(reduce_retracing=True)
    def observe(x: Any) -> list[Any]:
        graph = functional_graph(model)
        replay = _Replay(wanted)
        inputs = [
            keras.ops.convert_to_tensor(value, dtype=tensor.dtype)
            for value, tensor in zip(_in_order(x, model), graph.inputs, strict=True)
        ]
        replay.run(graph, [replay.add(value) for value in inputs])
        return [replay.kept[number] for number in numbers]

    return observe


def _in_order(x: Any, model: Any) -> list[Any]:
    """Values in the order of the graph's inputs; a dictionary is by input name."""
    import keras

    if isinstance(x, dict):
        return [x[tensor.name] for tensor in functional_graph(model).inputs]
    return list(keras.tree.flatten(x))


class _Replay:
    """Numbers tensors exactly as the walk of trace.py does: inputs first, then every call's outputs."""

    def __init__(self, wanted: set[int]) -> None:
        self.wanted = wanted
        self.kept: dict[int, Any] = {}
        self.values: dict[int, Any] = {}
        self.count = 0

    def add(self, value: Any) -> int:
        number = self.count
        self.count += 1
        self.values[number] = value
        if number in self.wanted:
            self.kept[number] = value
        return number

    def run(self, graph: Any, inputs: list[int]) -> list[int]:
        import keras

        numbers = {id(tensor): number for tensor, number in zip(graph.inputs, inputs, strict=True)}
        for node in nodes_in_order(graph):
            nested = functional_graph(node.operation)
            if nested is not None:
                outgoing = self.run(nested, [numbers[id(tensor)] for tensor in node.arguments.keras_tensors])
            else:
                values = {key: self.values[number] for key, number in numbers.items()}
                args, kwargs = node.arguments.fill_in(values)
                outgoing = [self.add(value) for value in keras.tree.flatten(node.operation(*args, **kwargs))]
            numbers.update({id(tensor): number for tensor, number in zip(node.outputs, outgoing, strict=True)})
        return [numbers[id(tensor)] for tensor in graph.outputs]
