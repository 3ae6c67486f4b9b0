"""LAMP: magnitude that can be compared across layers, so that none is emptied because its weights are small by nature.

Lee et al. 2021, "Layer-adaptive sparsity for the magnitude-based pruning".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeprune.sparsity.criteria.base import Criterion, Evidence, Scorer, value_of
from edgeprune.sparsity.weights import PrunableWeight


@dataclass(frozen=True)
class Lamp(Criterion):
    """w^2 divided by the sum of the squares of all weights of the kernel that are at least as large.

    Within a kernel that ranks like |w|; its largest weight scores 1.
    """

    name: ClassVar[str] = "lamp"

    def bind(self, evidence: Evidence) -> Scorer:
        """See Criterion."""
        return _LampScorer(evidence.weights)


class _LampScorer(Scorer):
    def __init__(self, weights: tuple[PrunableWeight, ...]) -> None:
        self._weights = weights

    def scores(self) -> list[np.ndarray]:
        return [_scores(value_of(weight)) for weight in self._weights]


def _scores(value: np.ndarray) -> np.ndarray:
    """value: float32 of any shape -> float32 of its shape; 0 where it is 0."""
    magnitudes = np.abs(value.reshape(-1))
    order = np.argsort(-magnitudes)  # the largest first; not stable, which takes four times as long
    squares = np.square(magnitudes[order].astype(np.float64))
    at_least = np.cumsum(squares)
    scores = np.zeros(value.size, np.float32)
    scores[order] = np.divide(squares, at_least, out=squares, where=at_least > 0)
    return scores.reshape(value.shape)
