"""Which argument of a call is which tensor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeprune.graph.context import Call


@dataclass(frozen=True, eq=False)
class Operand:
    """A tensor argument: its ids and shape."""

    ids: np.ndarray
    shape: tuple[int | None, ...]


def with_operands(call: Call) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The call's args and kwargs with every tensor of the graph replaced by its Operand."""
    import keras

    operands = iter(map(Operand, call.inputs, call.shapes))

    def replace(value: Any) -> Any:
        return next(operands) if isinstance(value, keras.KerasTensor) else value

    return keras.tree.map_structure(replace, (call.args, dict(call.kwargs)))


def argument(call: Call, position: int, name: str) -> Any:
    """The argument at a position or under a name, None when not given; tensors are Operands."""
    args, kwargs = with_operands(call)
    return args[position] if position < len(args) else kwargs.get(name)
