"""What a criterion may look at, and what it must answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from edgeprune.errors import InputError
from edgeprune.sparsity.weights import PrunableWeight


@dataclass(frozen=True, eq=False)
class Evidence:
    """All that a criterion may look at.

    model: a built and compiled Keras model. weights: the kernels to score. data: None, or (x, y) or
    (x, y, sample_weight) arrays, or batches of them: a tf.data.Dataset, a keras PyDataset or another iterable.
    batch_size: for arrays, in samples. seed: of every random choice.
    """

    model: Any
    weights: tuple[PrunableWeight, ...]
    data: Any = None
    batch_size: int = 32
    seed: int = 0


class Scorer(ABC):
    """A criterion bound to one training.

    threshold: soft criteria only: weights whose score is above it stay, whatever sparsity is asked for.
    """

    threshold: float | None = None

    @abstractmethod
    def scores(self) -> list[np.ndarray]:
        """One float32 array per weight, of the variable's shape (Keras layout): the larger, the more the weight should
        stay. Called outside the compiled train step; the arrays are the caller's to change."""


class FixedScorer(Scorer):
    """Scores that were found once, before training, and stay (4 bytes per weight)."""

    def __init__(self, scores: Sequence[np.ndarray]) -> None:
        self._scores = [np.asarray(score, dtype=np.float32) for score in scores]

    def scores(self) -> list[np.ndarray]:
        """See Scorer."""
        return [score.copy() for score in self._scores]


class GradientScorer(Scorer):
    """Scores that are learned from the gradients of every train step, one float32 per weight.

    accumulators: keras Variables of zeros, not trainable, one per weight and of its shape. They can be assigned by the
    replicas of a distribution strategy: each gives the same value, as gradients were summed before.
    """

    accumulators: list[Any]

    def __init__(self, evidence: Evidence) -> None:
        import keras

        with evidence.model.distribute_strategy.scope():
            self.accumulators = [
                keras.Variable(
                    "zeros",
                    shape=weight.shape,
                    dtype="float32",
                    trainable=False,
                    autocast=False,
                    aggregation="mean",
                    name="score",
                )
                for weight in evidence.weights
            ]

    @abstractmethod
    def accumulated(self, score: Any, value: Any, gradient: Any) -> Any:
        """The new score after one step; float32 tensors of one weight's shape. TensorFlow operations only."""

    def observe(self, index: int, value: Any, gradient: Any) -> None:
        """Take in one step, inside the compiled train step.

        Args:
            index: number of the weight.
            value: its value before the step; that of a pruned weight is 0, or the one it had if the criterion regrows.
            gradient: of the loss, summed over replicas, without loss scale.
        """
        import tensorflow as tf

        variable = self.accumulators[index]
        new = self.accumulated(
            tf.convert_to_tensor(variable.value), tf.cast(value, tf.float32), tf.cast(gradient, tf.float32)
        )
        variable.assign(new)

    def scores(self) -> list[np.ndarray]:
        """See Scorer."""
        return [np.array(variable.numpy(), dtype=np.float32) for variable in self.accumulators]


@dataclass(frozen=True)
class Criterion(ABC):
    """What the user passes, by name or with options.

    needs_data: `bind` looks at data. needs_gradients: the bound scorer is a GradientScorer. regrows: pruned weights
    keep their old value aside and may come back with it.
    """

    name: ClassVar[str]
    needs_data: ClassVar[bool] = False
    needs_gradients: ClassVar[bool] = False
    regrows: ClassVar[bool] = False

    @abstractmethod
    def bind(self, evidence: Evidence) -> Scorer:
        """The scorer of one training.

        Raises:
            InputError: the criterion can't work on this model or data.
        """


def value_of(weight: PrunableWeight) -> np.ndarray:
    """The weight's value of the moment as float32, of the variable's shape."""
    return np.asarray(weight.variable.numpy(), dtype=np.float32)


def check_number(owner: str, name: str, value: float, allowed: str, fits: bool) -> None:
    """Refuse an option of a criterion.

    Raises:
        InputError: `fits` is False; names the option, what was received and what is allowed.
    """
    if not fits:
        raise InputError(f"{owner}: {name} must be {allowed}, received {value}")
