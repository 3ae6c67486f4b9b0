"""Random: the baseline that every criterion must beat (Gale et al. 2019, "The State of Sparsity")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeprune.sparsity.criteria.base import Criterion, Evidence, FixedScorer, Scorer


@dataclass(frozen=True)
class Random(Criterion):
    """Uniform in [0, 1), drawn once from the seed, so what is pruned stays pruned as sparsity rises."""

    name: ClassVar[str] = "random"

    def bind(self, evidence: Evidence) -> Scorer:
        """See Criterion."""
        generator = np.random.default_rng(evidence.seed)
        return FixedScorer([generator.random(weight.shape, dtype=np.float32) for weight in evidence.weights])
