"""SNIP: how much the loss feels a connection, before training.

Lee, Ajanthan and Torr 2019, "SNIP: Single-shot Network Pruning based on Connection Sensitivity".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeprune.sparsity.criteria.base import Criterion, Evidence, FixedScorer, Scorer, value_of
from edgeprune.sparsity.criteria.batches import read_batches
from edgeprune.sparsity.criteria.loss import TrainingLoss


@dataclass(frozen=True)
class Snip(Criterion):
    """|w * dL/dw| at the start of training, divided by its sum over all weights.

    L is the mean of the compiled loss over all given data (at most 2048 samples), so gradients are averaged before the
    absolute value is taken.
    """

    name: ClassVar[str] = "snip"
    needs_data: ClassVar[bool] = True

    def bind(self, evidence: Evidence) -> Scorer:
        """See Criterion."""
        loss = TrainingLoss(self.name, evidence, read_batches(self.name, evidence))
        pairs = zip(evidence.weights, loss.gradient(), strict=True)
        scores = [np.abs(value_of(weight) * gradient) for weight, gradient in pairs]
        total = sum(float(score.sum(dtype=np.float64)) for score in scores)
        return FixedScorer([score / total for score in scores] if total > 0 else scores)
