"""Taylor: the first-order change of the loss when a weight becomes zero (Molchanov et al. 2017, "Pruning Convolutional
Neural Networks for Resource Efficient Inference"; 2019, "Importance Estimation for Neural Network Pruning")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from edgeprune.sparsity.criteria.base import Criterion, Evidence, GradientScorer, check_number


@dataclass(frozen=True)
class Taylor(Criterion):
    """Moving average of |w * dL/dw| over the train steps: score = decay * score + (1 - decay) * |w * dL/dw|.

    The average starts at 0, which makes early scores too small by the factor 1 - decay**steps; it is the same for all
    weights and so can't change their order.

    decay: from 0 (the last step only) to below 1.
    """

    name: ClassVar[str] = "taylor"
    needs_gradients: ClassVar[bool] = True

    decay: float = 0.9

    def __post_init__(self) -> None:
        check_number("Taylor", "decay", self.decay, "from 0 to below 1", 0.0 <= self.decay < 1.0)

    def bind(self, evidence: Evidence) -> GradientScorer:
        """See Criterion."""
        return _TaylorScorer(evidence, self.decay)


class _TaylorScorer(GradientScorer):
    def __init__(self, evidence: Evidence, decay: float) -> None:
        super().__init__(evidence)
        self._decay = decay

    def accumulated(self, score: Any, value: Any, gradient: Any) -> Any:
        import tensorflow as tf

        return self._decay * score + (1.0 - self._decay) * tf.abs(value * gradient)
