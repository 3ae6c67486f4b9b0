"""Handing an indexed split to Keras. The only module of edgeprune.data that imports Keras when it is imported."""

from __future__ import annotations

import numpy as np

from edgeprune.data.indexed import IndexedSplit
from edgeprune.data.split import Batch
from edgeprune.quiet import silence

silence()

import keras  # noqa: E402  (after silence())


class IndexedDataset(keras.utils.PyDataset):
    """One epoch over an indexed split in a given order.

    One worker in this thread: more would gain little beside TensorFlow's own threads, and the order is certain.
    """

    def __init__(self, split: IndexedSplit, order: np.ndarray, batch_size: int) -> None:
        super().__init__(workers=1, use_multiprocessing=False)
        self._split = split
        self._order = order
        self._batch_size = batch_size

    def __len__(self) -> int:
        return -(-len(self._order) // self._batch_size)

    def __getitem__(self, index: int) -> Batch:
        if not 0 <= index < len(self):
            raise IndexError(index)
        start = index * self._batch_size
        return self._split.take(self._order[start : start + self._batch_size])
