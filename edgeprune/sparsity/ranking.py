"""From scores to masks: which weights go at a sparsity, layer by layer or over the whole model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from edgeprune.sparsity.patterns import Pattern, Unstructured
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
            scores: float32 (4 bytes a weight), of the shape of each of `scored`; the larger the more a weight should
                stay. Ranking takes a few MB besides, see `threshold.keep_largest`.
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
        views = [self._view(weight, own) for weight, own in zip(self.scored, scores, strict=True)]
        shapes = [(view.shape[0], view.shape[1], view.shape[2]) for view in views]
        sizes = [self.pattern.unit_sizes(shape) for shape in shapes]
        units = [self._unit_scores(view, size, threshold) for view, size in zip(views, sizes, strict=True)]
        shared = [n for n, own in enumerate(self.own) if own is None] if self.globally else []
        keep: dict[int, np.ndarray] = {}
        for numbers in [shared, *([n] for n in range(len(units)) if n not in set(shared))]:
            wanted = sum(self._wanted(n, shapes[n], pace, sparsity) for n in numbers)
            chosen = _keep([units[n] for n in numbers], [sizes[n] for n in numbers], wanted)
            keep.update(zip(numbers, chosen, strict=True))
        return [self._mask(weight, self.pattern.expand(keep[n], shapes[n])) for n, weight in enumerate(self.scored)]

    def _view(self, weight: PrunableWeight, scores: np.ndarray) -> np.ndarray:
        """Scores as the pattern sees them; no copy where the order of weights does not matter."""
        if isinstance(self.pattern, Unstructured):
            return scores.reshape(1, 1, -1)
        return weight.runtime_view(scores)

    def _mask(self, weight: PrunableWeight, kept: np.ndarray) -> np.ndarray:
        if isinstance(self.pattern, Unstructured):
            return kept.reshape(weight.shape)
        return np.ascontiguousarray(weight.keras_view(kept))

    def _unit_scores(self, view: np.ndarray, sizes: int | np.ndarray, threshold: float | None) -> np.ndarray:
        """Scores of units; those that must stay get +inf."""
        scores = self.pattern.unit_scores(view)
        protect = np.zeros(len(scores), dtype=bool)
        if threshold is not None:
            protect |= scores > threshold
        if not self.least or isinstance(sizes, int):
            held = -(-self.least // int(np.max(sizes)))
        else:
            held = int(np.searchsorted(np.cumsum(sizes[np.argsort(-scores, kind="stable")]), self.least)) + 1
        if held >= len(scores):
            protect[:] = True
        elif held == 1:
            protect[np.argmax(scores)] = True
        elif held:
            protect[np.argpartition(scores, len(scores) - held)[len(scores) - held :]] = True
        return np.where(protect, np.float32(np.inf), scores) if protect.any() else scores

    def _wanted(self, number: int, shape: tuple[int, int, int], pace: float, sparsity: float) -> int:
        """How many weights of a kernel should be gone; of an N:M pattern the pace's share of those that may go."""
        if self.pattern.fixes_sparsity:
            return round(self.pattern.prunable(shape) * pace)
        own = self.own[number]
        return round(int(np.prod(shape, dtype=np.int64)) * (sparsity if own is None else own * pace))


def _keep(scores: Sequence[np.ndarray], sizes: Sequence[int | np.ndarray], wanted: int) -> list[np.ndarray]:
    """Masks of units without the lowest, so many that about `wanted` weights go, exactly so where units are weights."""
    if not scores:
        return []
    size = sizes[0]
    if isinstance(size, int) and all(isinstance(other, int) and other == size for other in sizes):
        return keep_largest(scores, min(round(wanted / size), _finite(scores)))
    flat = np.concatenate(scores)
    order = np.argsort(flat, kind="stable")
    weights = np.concatenate([np.broadcast_to(size, own.shape) for size, own in zip(sizes, scores, strict=True)])
    removed = np.concatenate([[0], np.cumsum(weights[order])])
    count = int(np.searchsorted(removed, wanted))
    if count == len(removed) or (count and removed[count] - wanted > wanted - removed[count - 1]):
        count -= 1
    keep = np.ones(len(flat), dtype=bool)
    keep[order[: min(count, _finite(scores))]] = False
    return np.split(keep, np.cumsum([len(own) for own in scores])[:-1])


def _finite(scores: Sequence[np.ndarray]) -> int:
    """How many units may go at all."""
    return sum(int(np.count_nonzero(own < np.inf)) for own in scores)
