"""From scores to masks: which weights go at a sparsity, layer by layer or over the whole model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from edgeprune.sparsity.patterns import Pattern
from edgeprune.sparsity.threshold import keep_largest
from edgeprune.sparsity.weights import PrunableWeight


class Ranking(Protocol):
    """Decides masks. `masked` are the variables that get one; scores come for `scored`."""

    @property
    def scored(self) -> tuple[PrunableWeight, ...]: ...

    @property
    def masked(self) -> tuple[tuple[str, Any], ...]:
        """(path, variable) of everything that is masked."""
        ...

    def masks(
        self, scores: Sequence[np.ndarray], pace: float, sparsity: float, threshold: float | None
    ) -> list[np.ndarray]:
        """A bool mask for each of `masked`, True = kept, of the variable's shape.

        Args:
            scores: float32, of the shape of each of `scored`; the larger the more a weight should stay.
            pace: how far the schedule is, sparsity / final sparsity.
            sparsity: the share of weights to remove now, in [0, 1).
            threshold: only weights that score at most this may go; None: any.
        """
        ...


@dataclass(frozen=True, eq=False)
class WeightRanking:
    """Ranks weights by a pattern.

    own: the final sparsity of each weight that has its own. globally: all others share one ranking; else each
    kernel is ranked by itself. least: weights of a kernel that always stay.
    """

    scored: tuple[PrunableWeight, ...]
    pattern: Pattern
    own: tuple[float | None, ...]
    globally: bool
    least: int

    @property
    def masked(self) -> tuple[tuple[str, Any], ...]:
        return tuple((weight.path, weight.variable) for weight in self.scored)

    def masks(
        self, scores: Sequence[np.ndarray], pace: float, sparsity: float, threshold: float | None
    ) -> list[np.ndarray]:
        views = [weight.runtime_view(np.asarray(s)) for weight, s in zip(self.scored, scores, strict=True)]
        shapes = [view.shape for view in views]
        units = [self._unit_scores(view, threshold) for view in views]
        keep: list[np.ndarray | None] = [None] * len(units)
        shared = [n for n, own in enumerate(self.own) if own is None] if self.globally else []
        if shared:
            chosen = [units[n] for n in shared]
            wanted = sum(self._wanted(shapes[n], pace, sparsity) for n in shared)
            for n, kept in zip(shared, keep_largest(chosen, min(wanted, _finite(chosen))), strict=True):
                keep[n] = kept
        for n, own in enumerate(self.own):
            if keep[n] is None:
                wanted = self._wanted(shapes[n], pace, sparsity if own is None else own * pace)
                keep[n] = keep_largest([units[n]], min(wanted, _finite([units[n]])))[0]
        return [
            np.ascontiguousarray(weight.keras_view(self.pattern.expand(kept, shape)))
            for weight, kept, shape in zip(self.scored, keep, shapes, strict=True)
            if kept is not None
        ]

    def _unit_scores(self, view: np.ndarray, threshold: float | None) -> np.ndarray:
        """Scores of units; those that must stay get +inf."""
        scores = self.pattern.unit_scores(view)
        stay = -(-self.least // self.pattern.weights_per_unit)
        protect = np.zeros(len(scores), dtype=bool)
        if threshold is not None:
            protect |= scores > threshold
        if stay >= len(scores):
            protect[:] = True
        elif np.count_nonzero(np.isposinf(scores)) < stay:
            protect[np.argpartition(scores, len(scores) - stay)[len(scores) - stay :]] = True
        return np.where(protect, np.float32(np.inf), scores) if protect.any() else scores

    def _wanted(self, shape: tuple[int, ...], pace: float, sparsity: float) -> int:
        """How many units of a kernel should be gone; of an N:M pattern the pace's share of those that may go."""
        prunable = self.pattern.prunable((shape[0], shape[1], shape[2]))
        return round(prunable * (pace if self.pattern.fixes_sparsity else sparsity))


def _finite(scores: Sequence[np.ndarray]) -> int:
    """How many units may go at all."""
    return sum(int(np.count_nonzero(own < np.inf)) for own in scores)
