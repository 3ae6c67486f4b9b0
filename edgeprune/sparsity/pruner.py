"""One model being pruned: a ranking, a bound criterion and the masks, stepped along a ramp."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeprune.sparsity.criteria.base import GradientScorer, Scorer
from edgeprune.sparsity.gradient_hook import GradientHook
from edgeprune.sparsity.masks import MaskSet, zero_masks
from edgeprune.sparsity.ranking import Ranking


@dataclass(frozen=True)
class LayerSparsity:
    """One masked weight: its path, how many weights it has and how many of them are not pruned."""

    path: str
    weights: int
    kept: int

    @property
    def sparsity(self) -> float:
        """Share of pruned weights."""
        return 1.0 - self.kept / self.weights


class Pruner:
    """Keeps the masks of a model; the callback, rewinding and builds drive it."""

    def __init__(self, model: Any, ranking: Ranking, scorer: Scorer, *, regrows: bool) -> None:
        self.model = model
        self.ranking = ranking
        self.scorer = scorer
        self.regrows = regrows
        self.masks = MaskSet(model, ranking.masked, regrow=regrows)
        numbers = {id(variable): number for number, variable in enumerate(self.masks.variables)}
        self._numbers = [numbers[id(weight.variable)] for weight in ranking.scored]  # of the scored ones' masks
        self._hook: GradientHook | None = None
        self._start_from_zeros()

    def _start_from_zeros(self) -> None:
        """What is zero has been pruned before, by an earlier run or in the file that was loaded."""
        keep = zero_masks([np.asarray(variable) for variable in self.masks.variables])
        self._alive = [mask & kept for mask, kept in zip(self.masks.keep(), keep, strict=True)]
        self.masks.assign(self._alive)
        self._count()

    def watch_gradients(self, training: object) -> None:
        """Feed a criterion that learns from gradients, until `stop_watching`. training: see GradientHook."""
        if isinstance(self.scorer, GradientScorer):
            scorer = self.scorer
            variables = [weight.variable for weight in self.ranking.scored]

            def observe(number: int, gradient: Any) -> None:
                scorer.observe(number, self.masks.current(self._numbers[number]), gradient)

            self._hook = GradientHook(self.model.optimizer, variables, observe, training)
            self._hook.attach()

    def stop_watching(self) -> None:
        """Leave the optimizer as it was."""
        if self._hook is not None:
            self._hook.detach()
            self._hook = None

    def prune(self, pace: float, sparsity: float) -> bool:
        """Choose the weights that are pruned from now on. pace: sparsity / final sparsity.

        Only criteria that regrow bring weights back, and only those that this training has pruned.

        Returns:
            False when nothing was done: the criterion has seen no gradient yet, as in a training that was continued.
        """
        if not sparsity:  # the first update of a ramp, as a rule
            return True
        scores: Sequence[np.ndarray] = self.scorer.scores()
        if isinstance(self.scorer, GradientScorer) and not any(np.any(own) for own in scores):
            return False
        keep = self._alive if self.regrows else self.masks.keep()
        # What is pruned has no value to come back with, so it ranks below everything else.
        below = np.nextafter(min(own.min() for own in scores), np.float32(-np.inf))
        for number, own in zip(self._numbers, scores, strict=True):
            own[~keep[number]] = below
        chosen = self.ranking.masks(scores, pace, sparsity, self.scorer.threshold)
        self.masks.assign([new & old for new, old in zip(chosen, keep, strict=True)])
        self._count()
        return True

    def _count(self) -> None:
        """Once per update: the progress bar asks at every step. sparsity: of all masked weights together."""
        self.layers = tuple(
            LayerSparsity(path, mask.size, int(np.count_nonzero(mask)))
            for path, mask in zip(self.masks.paths, self.masks.keep(), strict=True)
        )
        self.sparsity = 1.0 - sum(layer.kept for layer in self.layers) / sum(layer.weights for layer in self.layers)
