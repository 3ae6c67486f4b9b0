"""GraSP: keep the gradient flow, before training.

Wang, Zhang and Grosse 2020, "Picking Winning Tickets Before Training by Preserving Gradient Flow".
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import ClassVar

from edgeprune.sparsity.criteria.base import Criterion, Evidence, FixedScorer, Scorer, check_number, value_of
from edgeprune.sparsity.criteria.batches import read_batches
from edgeprune.sparsity.criteria.loss import TrainingLoss
from edgeprune.sparsity.criteria.temperature import softened


@dataclass(frozen=True)
class Grasp(Criterion):
    """w * (H g) at the start of training: g is the gradient of the loss, H its Hessian.

    Setting a weight to zero changes the gradient flow |g|^2 by -2 * w * (H g) to first order. The paper's score is
    -w * (H g) and the largest of them are removed; a weight is worth the opposite here: how much gradient flow is lost
    with it. Scores may be negative.

    Two passes over the data (at most 2048 samples), as in the authors' code: g over all of it first, then H g batch by
    batch with that g.

    temperature: what a classifier's logits are divided by. It is applied to the one output of a model whose compiled
        loss is a categorical, sparse categorical or binary crossentropy, of logits or of probabilities (see
        temperature.py); any other loss is taken as it is.
    """

    name: ClassVar[str] = "grasp"
    needs_data: ClassVar[bool] = True

    temperature: float = 200.0

    def __post_init__(self) -> None:
        check_number("Grasp", "temperature", self.temperature, "above 0", 0.0 < self.temperature < math.inf)

    def bind(self, evidence: Evidence) -> Scorer:
        """See Criterion."""
        change = functools.partial(softened, evidence.model, temperature=self.temperature)
        loss = TrainingLoss(self.name, evidence, read_batches(self.name, evidence), change)
        pairs = zip(evidence.weights, loss.hessian_product(loss.gradient()), strict=True)
        return FixedScorer([value_of(weight) * product for weight, product in pairs])
