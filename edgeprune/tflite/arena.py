"""Where tensors go in the arena: the greedy-by-size planner of the TFLite runtime, as a pure function.

Follows tflite/arena_planner.cc (order) and tflite/simple_memory_arena.cc (placement) of LiteRT 2; the method is
described in Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference" (2020).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

ALIGNMENT_BYTES = 64


def plan_arena(sizes: ArrayLike, first_use: ArrayLike, last_use: ArrayLike) -> tuple[np.ndarray, int]:
    """Offsets of tensors that share one block of memory, and the size of the block.

    Tensors that live from the first to the last moment come first, in the given order; the others by falling
    size, then by first use. Each is put into the smallest gap, between the tensors alive at the same time, that
    holds it; else behind all of them. Offsets are multiples of 64.

    Args:
        sizes: (n,) bytes, not negative. Tensors of size 0 take no place and get offset 0.
        first_use: (n,) the operation that writes the tensor.
        last_use: (n,) the last operation that reads it; inclusive, at least `first_use`.

    Returns:
        offsets: (n,) int64 bytes. peak_bytes: the largest offset + size, 0 for no tensors.

    Raises:
        ValueError: lengths differ, a size is negative, or a tensor ends before it begins.
    """
    size, first, last = (np.asarray(values, dtype=np.int64).reshape(-1) for values in (sizes, first_use, last_use))
    if not len(size) == len(first) == len(last):
        raise ValueError(f"sizes, first_use and last_use differ in length: {len(size)}, {len(first)}, {len(last)}")
    if (size < 0).any():
        raise ValueError(f"sizes must not be negative, received {int(size.min())}")
    if (first > last).any():
        raise ValueError("a tensor's last_use lies before its first_use")
    offsets = np.zeros(len(size), dtype=np.int64)
    kept = np.flatnonzero(size)
    if not len(kept):
        return offsets, 0
    throughout = (first[kept] == first[kept].min()) & (last[kept] == last[kept].max())
    rank = np.where(throughout, kept, 0)
    falling = np.where(throughout, 0, -size[kept])
    begins = np.where(throughout, 0, first[kept])
    order = kept[np.lexsort((begins, falling, rank, ~throughout))]

    first, last = first[order], last[order]
    starts: list[int] = []
    ends: list[int] = []
    for position, tensor_bytes in enumerate(size[order].tolist()):
        together = (first[:position] <= last[position]) & (last[:position] >= first[position])
        neighbours = sorted((starts[index], ends[index]) for index in np.flatnonzero(together).tolist())
        start = _smallest_gap(neighbours, tensor_bytes)
        starts.append(start)
        ends.append(start + tensor_bytes)
    offsets[order] = starts
    return offsets, max(ends)


def _smallest_gap(neighbours: list[tuple[int, int]], tensor_bytes: int) -> int:
    """The aligned offset for a tensor. neighbours: (start, end) of tensors alive with it, by start."""
    best_start, best_gap = -1, None
    free = 0  # everything below is taken by a neighbour
    for start, end in neighbours:
        aligned = -(-free // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
        # The runtime compares the aligned gap with the unaligned one it noted before; kept, to plan alike.
        if aligned + tensor_bytes <= start and (best_gap is None or start - aligned < best_gap):
            best_start, best_gap = aligned, start - free
        free = max(free, end)
        if best_gap == 0:
            break
    return best_start if best_gap is not None else -(-free // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
