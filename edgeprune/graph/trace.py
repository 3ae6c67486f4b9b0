"""The walk over a functional model: every call's rule is asked, calls without a rule are frozen by name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edgeprune.errors import InputError
from edgeprune.graph.context import FROZEN, Call, Context, NoRuleError, Traced, Work, elements
from edgeprune.graph.rules.table import rule_for
from edgeprune.keras_graph import functional_graph, nested_graph, nodes_in_order

OUTPUT_REASON = "model output"


@dataclass(frozen=True, eq=False)
class TracedCall:
    """One call with what its rule found. Tensors are numbered over the whole model, nested models included."""

    call: Call
    works: tuple[Work, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class TensorShape:
    """Shape and ids of a tensor of the graph."""

    shape: tuple[int | None, ...]
    ids: np.ndarray

    def varying_axes(self) -> dict[int, np.ndarray]:
        """The axes along which the ids change, with the ids on them. A single channel changes along none."""
        found = {}
        for axis in range(1, self.ids.ndim):
            if self.ids.shape[axis] > 1:
                index = tuple(slice(None) if d == axis else 0 for d in range(self.ids.ndim))
                found[axis] = self.ids[index]
        return found


@dataclass(frozen=True, eq=False)
class Trace:
    """A traced model: what all rules found, in execution order."""

    context: Context
    calls: tuple[TracedCall, ...]
    tensors: tuple[TensorShape, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def trace(model: Any) -> Trace:
    """Trace a built functional or Sequential Keras model.

    Raises:
        InputError: the model is subclassed or not built.
    """
    graph = functional_graph(model)
    if graph is None:
        raise InputError(
            f'the model "{model.name}" ({type(model).__name__}) is not a functional or built Sequential model, so its '
            "graph can't be read; build it from keras.Input with layers called on tensors"
        )
    walk = _Walk()
    inputs = []
    for tensor in graph.inputs:
        shape = tuple(tensor.shape)
        inputs.append(walk.add_tensor(shape, np.full((1,) * len(shape), FROZEN, dtype=np.int64)))
    outputs = walk.run(graph, inputs, "")
    for number in outputs:
        walk.freeze_output(number)
    return Trace(walk.context, tuple(walk.calls), tuple(walk.tensors), tuple(inputs), tuple(outputs))


class _Walk:
    def __init__(self) -> None:
        self.context = Context()
        self.calls: list[TracedCall] = []
        self.tensors: list[TensorShape] = []

    def add_tensor(self, shape: tuple[int | None, ...], ids: np.ndarray) -> int:
        self.tensors.append(TensorShape(shape, ids))
        return len(self.tensors) - 1

    def freeze_output(self, number: int) -> None:
        """A model's outputs keep all their channels."""
        maker = next((traced.call for traced in self.calls if number in traced.outputs), None)
        if maker is not None:
            self.context.freeze(self.tensors[number].ids, maker, OUTPUT_REASON)

    def run(self, graph: Any, inputs: list[int], prefix: str) -> list[int]:
        """Walk one graph on numbered input tensors; returns the numbers of its outputs."""
        numbers = {id(tensor): number for tensor, number in zip(graph.inputs, inputs, strict=True)}
        as_built = all(
            tuple(tensor.shape) == self.tensors[number].shape
            for tensor, number in zip(graph.inputs, inputs, strict=True)
        )
        nodes = nodes_in_order(graph)
        readers: dict[int, list[tuple[int, Any]]] = {}
        for position, node in enumerate(nodes):
            for tensor in node.arguments.keras_tensors:
                readers.setdefault(id(tensor), []).append((position, node))
        for node in nodes:
            incoming = [numbers[id(tensor)] for tensor in node.arguments.keras_tensors]
            nested = nested_graph(node)
            path = prefix + node.operation.name
            if nested is not None:
                outgoing = self.run(nested, incoming, path + "/")
            else:
                shapes = tuple(tuple(tensor.shape) for tensor in node.outputs)
                if not as_built:
                    shapes = _shapes_on(node, [self.tensors[number].shape for number in incoming])
                outgoing = self.visit(node, incoming, shapes, path, readers)
            numbers.update({id(tensor): number for tensor, number in zip(node.outputs, outgoing, strict=True)})
        return [numbers[id(tensor)] for tensor in graph.outputs]

    def visit(
        self,
        node: Any,
        incoming: list[int],
        output_shapes: tuple[tuple[int | None, ...], ...],
        path: str,
        readers: dict[int, list[tuple[int, Any]]],
    ) -> list[int]:
        call = Call(
            operation=node.operation,
            path=path,
            inputs=tuple(self.tensors[number].ids for number in incoming),
            shapes=tuple(self.tensors[number].shape for number in incoming),
            output_shapes=output_shapes,
            args=node.arguments.args,
            kwargs=node.arguments.kwargs,
            outputs=tuple(node.outputs),
            readers=readers,
        )
        rule = rule_for(node.operation)
        try:
            if rule is None:
                raise NoRuleError(f"no rule for {type(node.operation).__name__}")
            if id(node.operation) in self.context.frozen_operations:
                raise NoRuleError(self.context.frozen_operations[id(node.operation)])
            traced = rule.trace(call, self.context)
        except NoRuleError as reason:
            traced = self._with_kept_inputs(call, str(reason)) or self._frozen(call, str(reason))
        outgoing = [self.add_tensor(shape, ids) for shape, ids in zip(call.output_shapes, traced.outputs, strict=True)]
        self.calls.append(TracedCall(call, traced.work, tuple(incoming), tuple(outgoing)))
        return outgoing

    def _with_kept_inputs(self, call: Call, reason: str) -> Traced | None:
        """What the rule finds once all channels that reach the call stay; None where that is not enough.

        A convolution over channels that lie on its steps, say, can still make fewer channels itself.
        """
        rule = rule_for(call.operation)
        if rule is None or all(ids.size == 1 for ids in call.inputs):
            return None
        if id(call.operation) in self.context.frozen_operations:
            return None
        kept = tuple(np.full((1,) * ids.ndim, FROZEN, dtype=np.int64) for ids in call.inputs)
        try:
            traced = rule.trace(replace(call, inputs=kept), self.context)
        except NoRuleError:
            return None
        for ids in call.inputs:
            self.context.freeze(ids, call, reason)
        return traced

    def _frozen(self, call: Call, reason: str) -> Traced:
        """All channels that reach the call stay, and so do those it makes."""
        self.context.freeze_operation(call, reason)
        for variable in getattr(call.operation, "weights", ()):
            self.context.weight(call, variable, _guess_role(variable), {})
        outputs = tuple(np.full((1,) * len(shape), FROZEN, dtype=np.int64) for shape in call.output_shapes)
        return Traced(outputs, (_unknown_work(call),))


def _shapes_on(node: Any, input_shapes: list[tuple[int | None, ...]]) -> tuple[tuple[int | None, ...], ...]:
    """The output shapes of a call inside a nested model that is called on other sizes than it was built with."""
    import keras

    old = node.arguments.keras_tensors
    new = {
        id(tensor): keras.KerasTensor(shape, dtype=tensor.dtype)
        for tensor, shape in zip(old, input_shapes, strict=True)
    }
    args, kwargs = node.arguments.fill_in(new)
    found = node.operation.compute_output_spec(*args, **kwargs)
    return tuple(tuple(tensor.shape) for tensor in keras.tree.flatten(found))


def _guess_role(variable: Any) -> str:
    return "kernel" if len(variable.shape) > 1 else "bias"


def _unknown_work(call: Call) -> Work:
    """MACs of a call without a rule: every weight matrix is taken to meet every output position once."""
    kernels = [int(np.prod(v.shape)) for v in getattr(call.operation, "weights", ()) if len(v.shape) > 1]
    if not kernels:
        return Work("copy")
    positions = elements(call.output_shapes[0], (-1,)) if len(call.output_shapes[0]) > 1 else 1
    kind = "conv" if "Conv" in call.kind else "dense"
    return Work(kind, positions * sum(kernels))
