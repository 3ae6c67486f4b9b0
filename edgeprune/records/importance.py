"""What a criterion sees of a model: its variables and which unit each channel belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class UnitWeight:
    """One variable that makes or rides on channels.

    axis: the channel axis. units: (variable.shape[axis],) int64, the unit at every index; frozen channels belong to a
    unit of their own. role: kernel, bias or norm.
    """

    layer: str
    variable: Any
    role: str
    axis: int
    units: np.ndarray


@dataclass(frozen=True, eq=False)
class UnitActivation:
    """One activation that a computing layer reads.

    units: int64 of the activation's shape without the batch, length 1 along axes where the unit does not change.
    """

    layer: str
    tensor: int
    units: np.ndarray


@dataclass(frozen=True)
class Criterion:
    """A row of the table of criteria. `comparable`: scores of different groups may be compared as they are."""

    name: str
    module: str
    needs_data: bool
    comparable: bool
    reads_activations: bool = False
