"""What rules record while a model is traced: fresh ids, unions, weight axes and work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

# The id of everything that must stay: constants, model inputs and outputs, what no rule understands.
FROZEN = 0


class NoRuleError(Exception):
    """Raised by a rule that does not cover a configuration; the walk freezes the call and names the reason."""


@dataclass(frozen=True, eq=False)
class WeightAxes:
    """Which ids lie on which axes of one variable. role: kernel, bias, norm or other."""

    layer: str
    variable: Any
    role: str
    axes: Mapping[int, np.ndarray]
    produces: int | None


@dataclass(frozen=True, eq=False)
class Work:
    """What one operation does: MACs = factor x product of the kept lengths of `over`.

    kind: conv, depthwise, dense, copy, fusable (free when it follows a compute operation alone) or free.
    A call with several works hands a tensor of the output's size from one to the next, or one of
    `inner` = (factor, ids). `variables` are the weights it reads, None for all of the layer's.
    """

    kind: str
    factor: int = 0
    over: tuple[np.ndarray, ...] = ()
    inner: tuple[int, np.ndarray] | None = None
    variables: tuple[Any, ...] | None = None


@dataclass(frozen=True, eq=False)
class Call:
    """One call of an operation in the graph.

    `inputs` are the ids of all tensor arguments in call order, each of the tensor's rank with axis 0 the
    batch; an axis along which the ids do not change has length 1. `shapes` and `output_shapes` are the
    tensors' shapes. `args` and `kwargs` are the call's arguments as recorded by Keras. `outputs` are the Keras
    tensors the call makes and `readers` the (position, node) pairs of the same graph that read a tensor, by the
    tensor's id(); rules that must choose between layouts look ahead through them. Both are empty for a call inside
    a wrapper.
    """

    operation: Any
    path: str
    inputs: tuple[np.ndarray, ...]
    shapes: tuple[tuple[int | None, ...], ...]
    output_shapes: tuple[tuple[int | None, ...], ...]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    outputs: tuple[Any, ...] = ()
    readers: Mapping[int, Sequence[tuple[int, Any]]] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """The operation's class name."""
        return type(self.operation).__name__


@dataclass(frozen=True, eq=False)
class Traced:
    """What a rule returns: ids of every output, and the work done."""

    outputs: tuple[np.ndarray, ...]
    work: tuple[Work, ...] = (Work("free"),)


@dataclass(frozen=True)
class Freeze:
    """Ids that must stay because of one layer, and why."""

    layer: str
    kind: str
    reason: str


@dataclass(eq=False)
class Context:
    """Collects what rules find. Ids are issued in increasing order; unions are solved after the walk."""

    next_id: int = FROZEN + 1
    edges: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    freezes: dict[Freeze, list[np.ndarray]] = field(default_factory=dict)
    weights: dict[int, WeightAxes] = field(default_factory=dict)
    layer_ids: dict[tuple[int, str], np.ndarray] = field(default_factory=dict)
    # id(operation) -> why a call of it was frozen
    frozen_operations: dict[int, str] = field(default_factory=dict)

    def fresh(self, count: int) -> np.ndarray:
        """`count` new ids, (count,) int64."""
        ids = np.arange(self.next_id, self.next_id + count, dtype=np.int64)
        self.next_id += count
        return ids

    def unite(self, left: np.ndarray, right: np.ndarray) -> None:
        """The channels at equal places (after broadcasting) must be kept or removed together."""
        left, right = np.broadcast_arrays(left, right)
        self.edges.append((left.ravel(), right.ravel()))

    def freeze(self, ids: np.ndarray, call: Call, reason: str) -> None:
        """These channels must stay."""
        ids = np.unique(ids)
        self.edges.append((ids, np.full_like(ids, FROZEN)))
        self.freezes.setdefault(Freeze(call.path, call.kind, reason), []).append(ids)

    def freeze_operation(self, call: Call, reason: str) -> None:
        """Nothing around the call's operation may change: what it reads, and every axis of its weights."""
        self.frozen_operations.setdefault(id(call.operation), reason)
        for ids in call.inputs:
            self.freeze(ids, call, reason)
        # Axes that a call of the same shared layer has been given before.
        for (operation, _), ids in self.layer_ids.items():
            if operation == id(call.operation):
                self.freeze(ids, call, reason)
        for variable in getattr(call.operation, "weights", ()):
            known = self.weights.get(id(variable))
            for ids in known.axes.values() if known else ():
                self.freeze(ids, call, reason)

    def layer_axis(self, call: Call, name: str, ids: np.ndarray) -> np.ndarray:
        """The ids that a layer's axis `name` has had since its first call.

        A shared layer has one set of weights, so later calls are united with the first one. What is
        recorded here is what a rule's `resize` reads.
        """
        key = (id(call.operation), name)
        if key in self.layer_ids:
            self.unite(self.layer_ids[key], ids)
        return self.layer_ids.setdefault(key, ids)

    def issued(self, call: Call, name: str, count: int) -> np.ndarray:
        """Ids of the channels a layer makes: fresh on its first call, the same on later calls."""
        key = (id(call.operation), name)
        if key not in self.layer_ids:
            self.layer_ids[key] = self.fresh(count)
        return self.layer_ids[key]

    def weight(
        self, call: Call, variable: Any, role: str, axes: Mapping[int, np.ndarray], produces: int | None = None
    ) -> None:
        """Record which ids lie on the axes of `variable`; `produces` is the axis that makes channels.

        A variable used again holds the channels of all its uses; an axis that only some uses prune must stay.
        """
        known = self.weights.get(id(variable))
        if known is None:
            self.weights[id(variable)] = WeightAxes(call.path, variable, role, dict(axes), produces)
            return
        for axis in known.axes.keys() & axes.keys():
            if known.axes[axis] is not axes[axis]:
                self.unite(known.axes[axis], axes[axis])
        for axis in known.axes.keys() ^ axes.keys():
            held = known.axes if axis in known.axes else axes
            self.freeze(held[axis], call, "a shared weight is pruned by only some of its calls")


def along(ids: np.ndarray, shape: tuple[int | None, ...], axis: int) -> np.ndarray:
    """The ids on one axis of a tensor, (shape[axis],), repeated where they do not change along it.

    Raises:
        NoRuleError: the ids differ along another axis too, or the axis has no fixed length.
    """
    axis %= len(shape)
    length = shape[axis]
    if length is None:
        raise NoRuleError("the channel axis has no fixed length")
    others = tuple(d for d in range(len(shape)) if d != axis)
    if any(ids.shape[d] != 1 for d in others):
        raise NoRuleError("channels lie on another axis than the one that is read")
    return np.broadcast_to(ids.reshape(-1), (length,)) if ids.shape[axis] == 1 else ids.reshape(-1)


def on_axis(ids: np.ndarray, rank: int, axis: int) -> np.ndarray:
    """Lay (channels,) ids on `axis` of a tensor of the given rank; all other axes get length 1."""
    shape = [1] * rank
    shape[axis % rank] = len(ids)
    return ids.reshape(shape)


def elements(shape: tuple[int | None, ...], without: tuple[int, ...] = ()) -> int:
    """Product of the known lengths of a shape for batch 1, leaving out the axes in `without`.

    The batch is axis 0, or the open axis where a transpose has moved it.
    """
    rank = len(shape)
    batch = shape.index(None) if shape and shape[0] is not None and None in shape else 0
    skip = {axis % rank for axis in without} | {batch}
    return int(np.prod([shape[d] or 1 for d in range(rank) if d not in skip], dtype=np.int64))
