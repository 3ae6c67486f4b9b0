"""APoZ: weights of channels that are mostly zero after their activation matter less.

Hu et al. 2016, "Network Trimming": average percentage of zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from edgeprune.sparsity.criteria.base import Criterion, Evidence, Scorer, value_of
from edgeprune.sparsity.criteria.batches import Batch, read_batches
from edgeprune.sparsity.criteria.channel_activity import ChannelActivity, graph_of
from edgeprune.sparsity.criteria.failures import in_one_line
from edgeprune.sparsity.weights import PrunableWeight


@dataclass(frozen=True)
class Apoz(Criterion):
    """|w| * (1 - APoZ of the output channel that the weight makes).

    The paper ranks channels; within a channel its weights are ranked by magnitude here. APoZ is the share of zeros
    after the activation, over samples and positions (see channel_activity.py for where that is). It is measured anew at
    each call, on at most 2048 samples that stay in memory during training. Where no activation is found (a subclassed
    model, a layer inside another one, an output that several layers read) and for kernels without output channels, it
    counts as 0: plain magnitude.
    """

    name: ClassVar[str] = "apoz"
    needs_data: ClassVar[bool] = True

    def bind(self, evidence: Evidence) -> Scorer:
        """See Criterion."""
        batches = read_batches(self.name, evidence, labels=False)
        return _ApozScorer(self.name, evidence, batches)


class _ApozScorer(Scorer):
    def __init__(self, name: str, evidence: Evidence, batches: Sequence[Batch]) -> None:
        import tensorflow as tf

        self._name = name
        self._weights = evidence.weights
        self._batches = batches
        self._numbers: tuple[int, ...] = ()
        graph = graph_of(evidence.model)
        if graph is not None:
            activity = ChannelActivity(graph, graph._inputs_struct, evidence.weights)
            self._numbers = activity.numbers
            eager = evidence.model.run_eagerly
            self._observe: Any = activity if eager else tf.function(activity, reduce_retracing=True, autograph=False)

    def scores(self) -> list[np.ndarray]:
        found = [np.abs(value_of(weight)) for weight in self._weights]
        nonzero: dict[int, np.ndarray] = {}
        elements: dict[int, int] = {}
        with in_one_line(self._name):
            for x, _, _ in self._batches if self._numbers else ():
                for number, (active, total) in zip(self._numbers, self._observe(x), strict=True):
                    nonzero[number] = nonzero.get(number, 0) + active.numpy()
                    elements[number] = elements.get(number, 0) + int(total)
        for number, active in nonzero.items():
            share = (active / max(elements[number], 1)).astype(np.float32)
            found[number] *= _beside(share, self._weights[number])
        return found


def _beside(share: np.ndarray, weight: PrunableWeight) -> np.ndarray:
    """A value per output channel in the kernel's layout, to be broadcast."""
    outputs = weight.order[weight.positions : weight.positions + weight.outputs]
    return share.reshape([length if axis in outputs else 1 for axis, length in enumerate(weight.shape)])
