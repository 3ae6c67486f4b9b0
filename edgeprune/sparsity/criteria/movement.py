"""Movement: weights that training moves away from zero stay.

Sanh, Wolf and Rush 2020, "Movement Pruning: Adaptive Sparsity by Fine-Tuning".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from edgeprune.errors import InputError, nearest
from edgeprune.sparsity.criteria.base import Criterion, Evidence, GradientScorer, check_number

_MODES = ("hard", "soft")


@dataclass(frozen=True)
class Movement(Criterion):
    """The score S of a weight starts at 0 and gains -w * dL/dw in every step.

    This is the straight-through gradient descent of the paper on S, with a rate of 1: a rate scales all hard scores
    alike. Pruned weights go on gaining, by the value they had and the gradient at their place, and may come back.

    mode: "hard": the schedule's share of the smallest scores is pruned (the paper's top-v). "soft": of these, only
        scores <= `threshold` are.
    threshold: soft only, in units of S.
    penalty: soft only; lambda of the regularizer lambda * sum(sigmoid(S)), whose gradient lambda * sigmoid'(S) is taken
        from S in every step, so that scores which gain nothing sink. As S moves by -w * dL/dw, useful values are of
        that size.
    """

    name: ClassVar[str] = "movement"
    needs_gradients: ClassVar[bool] = True
    regrows: ClassVar[bool] = True

    mode: Literal["hard", "soft"] = "hard"
    threshold: float = 0.0
    penalty: float = 0.0

    def __post_init__(self) -> None:
        if self.mode not in _MODES:
            raise InputError(f'Movement: unknown mode "{self.mode}"; {nearest(str(self.mode), _MODES)}')
        check_number("Movement", "threshold", self.threshold, "a finite number", math.isfinite(self.threshold))
        check_number("Movement", "penalty", self.penalty, "0 or more", 0.0 <= self.penalty < math.inf)
        if self.mode == "hard" and (self.threshold or self.penalty):
            raise InputError(
                f"Movement: threshold ({self.threshold}) and penalty ({self.penalty}) belong to soft movement pruning; "
                'add mode="soft", or leave them out'
            )

    def bind(self, evidence: Evidence) -> GradientScorer:
        """See Criterion."""
        return _MovementScorer(evidence, self)


class _MovementScorer(GradientScorer):
    def __init__(self, evidence: Evidence, criterion: Movement) -> None:
        super().__init__(evidence)
        self._penalty = criterion.penalty
        self.threshold = criterion.threshold if criterion.mode == "soft" else None

    def accumulated(self, score: Any, value: Any, gradient: Any) -> Any:
        import tensorflow as tf

        new = score - value * gradient
        if self._penalty:
            share = tf.sigmoid(score)
            new -= self._penalty * share * (1.0 - share)
        return new
