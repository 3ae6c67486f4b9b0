"""A traced model as costs and plans see it: sizes as functions of how many units each group keeps.

Every length that pruning can change is an *axis*: width = fixed + units_per_axis @ kept, linear in the
number of units kept per group. Everything counted (MACs, weights, activations) is a product of widths.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import csr_matrix


@dataclass(frozen=True)
class Extent:
    """factor times the product of the widths of `axes` (indices into the axis table)."""

    factor: int
    axes: tuple[int, ...] = ()


@dataclass(frozen=True)
class GroupRecord:
    """Units that cost the same and may be removed one by one.

    `layers` are the paths of the layers that produce these channels; `name` is the first of them,
    made unique.
    """

    name: str
    units: int
    layers: tuple[str, ...]


@dataclass(frozen=True)
class OpRecord:
    """One operation the runtime executes. `kind` is conv, depthwise, dense, copy (moves bytes only) or fused.

    `inputs` and `outputs` index tensors, `weights` index weights; `axis` is the output-channel axis, one of those of
    `macs`, 0 if none.
    A fused operation costs nothing: the runtime folds it into the one before.
    """

    layer: str
    kind: str
    macs: Extent
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    weights: tuple[int, ...]
    axis: int


@dataclass(frozen=True)
class TensorRecord:
    """One activation for batch 1; alive from operation `first_use` to `last_use`, both inclusive."""

    extent: Extent
    first_use: int
    last_use: int


@dataclass(frozen=True)
class WeightRecord:
    """One variable. `role` is kernel, bias, norm or other."""

    layer: str
    role: str
    extent: Extent


@dataclass(frozen=True, eq=False)
class Network:
    """A traced model.

    axis_fixed: (axes,) int64, the part of each width that can't be pruned; axis 0 is the constant 1.
    axis_units: (axes, groups) int64, how many elements one unit of a group takes on the axis.
    """

    groups: tuple[GroupRecord, ...]
    axis_fixed: np.ndarray
    axis_units: np.ndarray
    ops: tuple[OpRecord, ...]
    tensors: tuple[TensorRecord, ...]
    weights: tuple[WeightRecord, ...]

    @property
    def full(self) -> np.ndarray:
        """(groups,) int64: all units kept."""
        return np.array([group.units for group in self.groups], dtype=np.int64)

    def widths(self, kept: np.ndarray) -> np.ndarray:
        """Widths of all axes. kept: (groups,) or (groups, plans) -> (axes,) or (axes, plans) int64."""
        fixed = self.axis_fixed if kept.ndim == 1 else self.axis_fixed[:, None]
        return np.asarray(fixed + self._sparse_units @ kept)

    @cached_property
    def _sparse_units(self) -> csr_matrix:
        # few groups lie on an axis
        return csr_matrix(self.axis_units)
