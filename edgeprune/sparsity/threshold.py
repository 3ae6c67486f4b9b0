"""Exact selection of the smallest scores over many arrays, in bounded extra memory: global ranking without a sort.

Large inputs use a radix select on the bits of float32: a histogram of the upper 16 bits finds the bin of the threshold,
a histogram of the lower 16 bits within that bin finds the threshold itself. Small inputs are partitioned, with the same
result.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from edgeprune.errors import InputError

# Values handled at a time; all temporaries of a chunk fit into the caches of a desktop CPU.
CHUNK = 1 << 18
# Up to here a partition of a copy (4 bytes per value) is faster than two histograms.
SMALL = 1 << 19

_HALF = 1 << 16  # bins: the values of half a float32
_SIGN = _HALF >> 1  # upper halves from here on belong to negative numbers


def keep_largest(scores: Sequence[np.ndarray], remove: int) -> list[NDArray[np.bool_]]:
    """Masks that remove the `remove` smallest of all scores: True is kept, exactly `remove` are False in total.

    Ties are removed in order, array by array and in C order within an array, so the result is deterministic.

    Args:
        scores: arrays of any shape. They are compared as float32: other types are converted, chunk by chunk, so float64
            scores that round to the same float32 tie. Infinities are allowed, -0.0 equals 0.0.
        remove: how many, from 0 to the number of scores.

    Returns:
        One bool array per array of scores, of its shape (1 byte per score).

    Memory: besides the masks less than 8 MB, whatever the number of scores. An array that isn't C-contiguous is copied
    while it is read.

    Raises:
        InputError: if a score is NaN.
        ValueError: if `remove` is negative or more than there are scores.
    """
    total = sum(array.size for array in scores)
    if not 0 <= remove <= total:
        raise ValueError(f"remove must be from 0 to the {total} scores, received {remove}")
    _refuse_nan(scores)
    if remove == 0:
        return [np.ones(array.shape, dtype=np.bool_) for array in scores]
    threshold, ties = (_by_partition if total <= SMALL else _by_radix)(scores, remove)
    masks = []
    for array in scores:
        mask = np.empty(array.size, dtype=np.bool_)
        for start, chunk in _chunks(array):
            kept = mask[start : start + chunk.size]
            np.greater_equal(chunk, threshold, out=kept)
            if ties:
                tied = np.flatnonzero(chunk == threshold)[:ties]
                kept[tied] = False
                ties -= tied.size
        masks.append(mask.reshape(array.shape))
    return masks


def _chunks(array: np.ndarray) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """(start, values) of an array in C order."""
    flat = array.reshape(-1)
    # Scores beyond float32's range become infinities, which are still the largest.
    with np.errstate(over="ignore"):
        for start in range(0, flat.size, CHUNK):
            yield start, flat[start : start + CHUNK].astype(np.float32, copy=False)


def _refuse_nan(scores: Sequence[np.ndarray]) -> None:
    for index, array in enumerate(scores):
        # The minimum of values with a NaN is NaN.
        if any(np.isnan(chunk.min()) for _, chunk in _chunks(array)):
            raise InputError(
                f"the scores of array {index} (shape {array.shape}) hold NaN, so they can't be ranked; check the "
                "model's weights, loss and gradients for NaN, or use another criterion"
            )


def _by_partition(scores: Sequence[np.ndarray], remove: int) -> tuple[np.float32, int]:
    """The `remove`-th smallest score, and how many of the scores equal to it are among the `remove` smallest."""
    values = np.concatenate([chunk for array in scores for _, chunk in _chunks(array)])
    threshold = np.partition(values, remove - 1)[remove - 1]
    return threshold, remove - int(np.count_nonzero(values < threshold))


def _by_radix(scores: Sequence[np.ndarray], remove: int) -> tuple[np.float32, int]:
    """As `_by_partition`."""
    counts = np.zeros(_HALF, dtype=np.int64)
    for bits in _bits(scores):
        counts += np.bincount(bits >> 16, minlength=_HALF)
    # The bits of positive floats rise with their value, those of negative ones fall.
    rising, falling = np.arange(_SIGN), np.arange(_HALF - 1, _SIGN - 1, -1)
    upper, left = _bin_of(counts, np.concatenate([falling, rising]), remove)

    counts[:] = 0
    for bits in _bits(scores):
        counts += np.bincount(bits[bits >> 16 == upper] & (_HALF - 1), minlength=_HALF)
    lower, ties = _bin_of(counts, np.arange(_HALF)[:: -1 if upper >= _SIGN else 1], left)
    return np.uint32(upper << 16 | lower).view(np.float32), ties


def _bits(scores: Sequence[np.ndarray]) -> Iterator[NDArray[np.uint32]]:
    """The bits of all scores, chunk by chunk."""
    for array in scores:
        for _, chunk in _chunks(array):
            # + 0 turns -0.0 into 0.0, which it equals.
            yield (chunk + np.float32(0)).view(np.uint32)


def _bin_of(counts: NDArray[np.int64], order: NDArray[np.int64], rank: int) -> tuple[int, int]:
    """The bin that holds the value of a 1-based rank when bins are in `order`, and the value's rank within that bin."""
    up_to = np.cumsum(counts[order])
    place = int(np.searchsorted(up_to, rank))
    return int(order[place]), rank - int(up_to[place] - counts[order[place]])
