"""Where the channels of a tensor lie: at most one axis of an id array is longer than 1.

Rules for array operations only ask which axis that is and where it goes. An id array without a long axis
holds one id, which then covers the whole tensor.
"""

from __future__ import annotations

import numpy as np

from edgeprune.graph.context import Call, NoRuleError, on_axis


def long_axis(ids: np.ndarray) -> int | None:
    """The axis along which the ids change, None when a single id covers the tensor.

    Raises:
        NoRuleError: they change along several axes.
    """
    axes = [axis for axis, length in enumerate(ids.shape) if length > 1]
    if len(axes) > 1:
        raise NoRuleError("channels lie on more than one axis of the tensor")
    return axes[0] if axes else None


def laid(ids: np.ndarray, rank: int, axis: int | None) -> np.ndarray:
    """The ids of a tensor on `axis` of another of the given rank; a single id has no axis."""
    return ids.reshape((1,) * rank) if axis is None or ids.size == 1 else on_axis(ids.reshape(-1), rank, axis)


def positive(axis: int, rank: int) -> int:
    """An axis counted from the front."""
    return axis + rank if axis < 0 else axis


def axis_set(axis: int | tuple[int, ...] | list[int] | None, rank: int) -> set[int]:
    """The axes an operation works over; None means all."""
    if axis is None:
        return set(range(rank))
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    return {positive(int(one), rank) for one in axes}


def output_rank(call: Call) -> int:
    """Rank of the call's first output."""
    return len(call.output_shapes[0])


def slow_first(ids: np.ndarray) -> bool:
    """True when equal ids stand together on the axis, as [0, 0, 1, 1], not apart, as [0, 1, 0, 1]. ids: (length,)."""
    return int((np.diff(ids) != 0).sum()) == len(np.unique(ids)) - 1
