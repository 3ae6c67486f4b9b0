"""A fair part of the data for steps that need not see all of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from edgeprune.data.split import Batch, Split


def drawn_batches(split: Split, batch_size: int, samples: int, seed: int) -> tuple[Iterator[Batch], int]:
    """Batches of a shuffled pass, up to the one that reaches `samples` samples; and how many batches that should be.

    The stored order would not do: folders, and many arrays, are sorted by class. A tf.data.Dataset that is batched
    keeps its own order and batch size.
    """
    wanted = samples if split.size is None else min(samples, split.size)
    return _until(split.epoch(batch_size, seed), wanted), -(-wanted // batch_size)


def _until(epoch: Any, wanted: int) -> Iterator[Batch]:
    seen = 0
    for x, y in epoch:
        yield x, y
        seen += _samples(x)
        if seen >= wanted:
            return


def _samples(x: Any) -> int:
    while not hasattr(x, "shape"):
        x = next(iter(x.values())) if isinstance(x, dict) else x[0]
    return int(x.shape[0])
