"""What a picture of a sparse kernel shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class MaskPicture:
    """One sparse kernel as the runtime stores it: a row per output, in it the inputs of every position in sequence.

    kernel: its path in the model. outputs, inputs: weights on either axis. sparsity: share of zeros.
    kept: (rows, columns) float64 in [0, 1], at most SIDE each: the share of weights that are not zero in every cell.
    """

    kernel: str
    outputs: int
    inputs: int
    sparsity: float
    kept: np.ndarray


SIDE = 64
