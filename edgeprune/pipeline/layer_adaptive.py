"""Magnitude that can be compared across layers, so that no layer is emptied because its weights are small by nature.

LAMP: Lee et al. 2021, "Layer-adaptive sparsity for the magnitude-based pruning": w^2 divided by the sum of the squares
of all weights of the kernel that are at least as large. Within a kernel that ranks like |w|; its largest scores 1.
"""

from __future__ import annotations

import numpy as np

from edgeprune.sparsity.criteria.base import Scorer
from edgeprune.sparsity.weights import PrunableWeight


class LayerAdaptiveMagnitude(Scorer):
    """The scores of the moment; see `Scorer`."""

    def __init__(self, weights: tuple[PrunableWeight, ...]) -> None:
        self._weights = weights

    def scores(self) -> list[np.ndarray]:
        return [_scores(np.asarray(weight.variable)) for weight in self._weights]


def _scores(value: np.ndarray) -> np.ndarray:
    """value: a kernel of any float type -> float32 of its shape; 0 where it is 0."""
    magnitudes = np.abs(value.reshape(-1).astype(np.float32))
    order = np.argsort(-magnitudes)  # the largest first; not stable, which takes four times as long
    squares = np.square(magnitudes[order].astype(np.float64))
    at_least = np.cumsum(squares)
    scores = np.zeros(value.size, np.float32)
    scores[order] = np.divide(squares, at_least, out=squares, where=at_least > 0)
    return scores.reshape(value.shape)
