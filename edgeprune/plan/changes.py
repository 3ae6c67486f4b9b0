"""Costs of the plans one step away, by the shortest way a cost offers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edgeprune.cost.change import Changes


@dataclass(frozen=True)
class Cost:
    """A cost of plans that knows a short way for one-group changes.

    whole: (groups,) or (groups, plans) kept counts -> () or (plans,) costs. changed: the same for Changes.
    """

    whole: Callable[[np.ndarray], np.ndarray]
    changed: Callable[[Changes], np.ndarray]

    def __call__(self, kept: np.ndarray) -> np.ndarray:
        """The cost of whole plans."""
        return self.whole(kept)


def changed_costs(cost: Callable[[np.ndarray], np.ndarray], changes: Changes) -> np.ndarray:
    """(changes,) float64: the cost of every changed plan."""
    if isinstance(cost, Cost):
        return cost.changed(changes)
    number = np.arange(len(changes.groups))
    plans = np.repeat(changes.kept[:, None], len(number), axis=1)
    plans[changes.groups, number] = changes.counts
    return np.asarray(cost(plans))
