"""What every part of the data (training, validation) offers to training, validation and calibration."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

Batch = tuple[Any, Any]
"""(x, y) as `fit` takes them: x one array, a tuple in input order, or a dictionary for a model built on one; y one
array or a tuple in output order. Axis 0 is the batch. x has the model's input types; y is int32 class numbers
or float32 values of the output's shape."""


class Split(Protocol):
    """Labelled samples that can be read any number of times."""

    @property
    def size(self) -> int | None:
        """Number of samples; None where only reading everything would tell."""

    def epoch(self, batch_size: int, order_seed: int | None) -> Any:
        """One pass over all samples, for `model.fit(..., shuffle=False)` and for one plain iteration over (x, y).

        order_seed: None keeps the order; the same seed gives the same order in every process.
        Keras would shuffle the batches again from the global random state unless told `shuffle=False`.
        Has `len()` (number of batches) where `size` is known.
        """

    def batches(self, batch_size: int, limit: int | None = None) -> Iterator[Batch]:
        """Numpy batches in the stored order; stops after `limit` samples (the last batch may be smaller)."""

    def inputs(self, count: int) -> list[np.ndarray]:
        """Per model input an array with the first `count` samples (fewer when there are fewer)."""

    def sample(self, count: int, seed: int) -> list[np.ndarray]:
        """Like `inputs`, but drawn at random from all samples, balanced by class: for calibration."""

    def label_sample(self, count: int, seed: int) -> Any:
        """y of a seeded draw, in the form of a batch's y: what task inference looks at."""

    def fingerprint(self) -> str:
        """Hex sha256 that changes when the data change."""
