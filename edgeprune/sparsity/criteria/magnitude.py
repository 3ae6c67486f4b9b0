"""Magnitude: a small weight does little.

Han et al. 2015, "Learning both Weights and Connections"; Zhu and Gupta 2017, "To prune, or not to prune".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeprune.sparsity.criteria.base import Criterion, Evidence, Scorer, value_of
from edgeprune.sparsity.weights import PrunableWeight


@dataclass(frozen=True)
class Magnitude(Criterion):
    """|w| of the moment."""

    name: ClassVar[str] = "magnitude"

    def bind(self, evidence: Evidence) -> Scorer:
        """See Criterion."""
        return _MagnitudeScorer(evidence.weights)


class _MagnitudeScorer(Scorer):
    def __init__(self, weights: tuple[PrunableWeight, ...]) -> None:
        self._weights = weights

    def scores(self) -> list[np.ndarray]:
        return [np.abs(value_of(weight)) for weight in self._weights]
