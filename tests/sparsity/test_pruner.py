"""What stays pruned when scores change, with scores made up for the purpose."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from edgeprune.sparsity.criteria.base import Scorer
from edgeprune.sparsity.patterns import parse_pattern
from edgeprune.sparsity.pruner import Pruner
from edgeprune.sparsity.ranking import WeightRanking
from edgeprune.sparsity.weights import prunable_weights

pytestmark = pytest.mark.keras


class Given(Scorer):
    """Scores as set."""

    def __init__(self, *scores: list[float]) -> None:
        self.set(*scores)

    def set(self, *scores: list[float]) -> None:
        self._scores = [np.array(own, "float32").reshape(2, 2) for own in scores]

    def scores(self) -> list[np.ndarray]:
        return self._scores


def two_kernels() -> Any:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2), keras.layers.Dense(2)])
    for layer in model.layers:
        layer.kernel.assign([[1.0, 2.0], [3.0, 4.0]])
    return model


def pruner_of(model: Any, scorer: Scorer, regrows: bool = False) -> Pruner:
    weights = prunable_weights(model)
    ranking = WeightRanking(weights, parse_pattern("unstructured"), (None, None), True, 0)
    return Pruner(model, ranking, scorer, regrows=regrows)


def pruned(model: Any) -> list[list[int]]:
    return [np.flatnonzero(np.asarray(layer.kernel) == 0).tolist() for layer in model.layers]


def test_pruned_weights_rank_below_those_of_all_kernels() -> None:
    model, scorer = two_kernels(), Given([-1, -1, 5, 5], [9, 9, 9, 9])
    pruner = pruner_of(model, scorer)
    pruner.prune(0.5, 0.25)
    assert pruned(model) == [[0, 1], []]
    scorer.set([-1, -1, 5, 5], [-10, -9, -8, 9])  # another kernel is worth less now
    pruner.prune(1.0, 0.5)
    assert pruned(model) == [[0, 1], [0, 1]]  # half of eight, not more


def test_a_lower_target_brings_nothing_back() -> None:
    model, scorer = two_kernels(), Given([1, 2, 3, 4], [5, 6, 7, 8])
    pruner = pruner_of(model, scorer)
    pruner.prune(1.0, 0.5)
    pruner.prune(0.5, 0.25)
    assert pruned(model) == [[0, 1, 2, 3], []]


def test_what_regrows_has_its_old_value() -> None:
    model, scorer = two_kernels(), Given([1, 2, 3, 4], [5, 6, 7, 8])
    pruner = pruner_of(model, scorer, regrows=True)
    pruner.prune(1.0, 0.5)
    assert pruned(model) == [[0, 1, 2, 3], []]
    scorer.set([9, 9, 9, 9], [5, 6, 7, 8])
    pruner.prune(1.0, 0.5)
    assert pruned(model) == [[], [0, 1, 2, 3]]
    assert np.asarray(model.layers[0].kernel).tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_zeros_from_before_the_training_never_regrow() -> None:
    model = two_kernels()
    model.layers[0].kernel.assign([[0.0, 2.0], [3.0, 4.0]])
    pruner = pruner_of(model, Given([9, 1, 9, 9], [9, 9, 9, 9]), regrows=True)
    assert pruner.sparsity == 1 / 8
    pruner.prune(1.0, 0.25)
    assert pruned(model) == [[0, 1], []]
