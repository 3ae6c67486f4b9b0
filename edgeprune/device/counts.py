"""The counts that the plugin of boards/counter.c writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Segment:
    """What ran from one hook to the next. hook: the guest address of the function that began it, 0 for none.

    addresses: (n,) uint64, blocks of guest code. instructions: (n,) uint64, executed in each.
    """

    hook: int
    addresses: np.ndarray
    instructions: np.ndarray

    @property
    def total(self) -> int:
        """All instructions of the segment."""
        return int(self.instructions.sum())

    def without(self, ranges: Sequence[tuple[int, int]]) -> Segment:
        """The segment without the code in these ranges of guest addresses."""
        kept = np.ones(len(self.addresses), bool)
        for start, end in ranges:
            kept &= (self.addresses < np.uint64(start)) | (self.addresses >= np.uint64(end))
        return Segment(self.hook, self.addresses[kept], self.instructions[kept])


Region = tuple[Segment, ...]


def read_regions(path: Path, left_out: Sequence[tuple[int, int]] = ()) -> list[Region]:
    """All finished regions; what a crash left unfinished is dropped.

    left_out: ranges of guest addresses whose code doesn't count.
    """
    numbers = np.fromfile(path, "<u8") if path.is_file() else np.zeros(0, np.uint64)
    regions: list[Region] = []
    segments: list[Segment] = []
    place = 0
    while place + 3 <= len(numbers):
        ends, hook, count = (int(number) for number in numbers[place : place + 3])
        place += 3
        pairs = numbers[place : place + 2 * count].reshape(-1, 2) if place + 2 * count <= len(numbers) else None
        if pairs is None:
            break
        place += 2 * count
        segments.append(Segment(hook, pairs[:, 0], pairs[:, 1]).without(left_out))
        if ends:
            regions.append(tuple(segments))
            segments = []
    return regions


def total(region: Region) -> int:
    """All instructions of a region."""
    return sum(segment.total for segment in region)
