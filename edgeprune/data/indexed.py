"""Splits whose samples can be picked by position: arrays and folders of images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np

from edgeprune.data.signature import Signature
from edgeprune.data.split import Batch
from edgeprune.data.stratify import sample_indices


class IndexedSplit(ABC):
    """Batches, orders and draws on top of three methods that a subclass gives."""

    def __init__(self, signature: Signature, size: int) -> None:
        self.signature = signature
        self._size = size

    @property
    def size(self) -> int:
        """Number of samples."""
        return self._size

    @abstractmethod
    def take_inputs(self, positions: np.ndarray) -> tuple[np.ndarray, ...]:
        """Per model input the samples at `positions`, in the model's input type."""

    @abstractmethod
    def take_labels(self, positions: np.ndarray) -> tuple[np.ndarray, ...]:
        """Per model output the labels at `positions`, conformed (see labels.conform)."""

    @abstractmethod
    def classes(self) -> np.ndarray | None:
        """(size,) class numbers to balance draws by; None where samples have no single class."""

    def take(self, positions: np.ndarray) -> Batch:
        """The samples at `positions` as one batch."""
        x = self.signature.pack_inputs(self.take_inputs(positions))
        return x, self.signature.pack_outputs(self.take_labels(positions))

    def epoch(self, batch_size: int, order_seed: int | None) -> Any:
        """A keras.utils.PyDataset; see Split.epoch. Batches are picked by position, nothing is copied ahead."""
        from edgeprune.data.keras_dataset import IndexedDataset

        order = np.arange(self.size)
        if order_seed is not None:
            order = np.random.default_rng(order_seed).permutation(order)
        return IndexedDataset(self, order, batch_size)

    def batches(self, batch_size: int, limit: int | None = None) -> Iterator[Batch]:
        """See Split.batches."""
        end = self.size if limit is None else min(limit, self.size)
        for start in range(0, end, batch_size):
            yield self.take(np.arange(start, min(start + batch_size, end)))

    def inputs(self, count: int) -> list[np.ndarray]:
        """See Split.inputs."""
        return list(self.take_inputs(np.arange(min(count, self.size))))

    def sample(self, count: int, seed: int) -> list[np.ndarray]:
        """See Split.sample."""
        return list(self.take_inputs(sample_indices(self.size, self.classes(), count, seed)))

    def label_sample(self, count: int, seed: int) -> Any:
        """See Split.label_sample."""
        positions = sample_indices(self.size, self.classes(), count, seed)
        return self.signature.pack_outputs(self.take_labels(positions))
