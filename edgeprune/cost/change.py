"""Plans that differ from one plan in a single group each: what allocation compares at every step."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from edgeprune.records.network import Network


@dataclass(frozen=True, eq=False)
class Changes:
    """`changes` plans, each a base plan with one group set to another count.

    kept: (groups,) int64, the base plan. groups, counts: (changes,) int64, which group is set to how many units.
    """

    kept: np.ndarray
    groups: np.ndarray
    counts: np.ndarray

    @cached_property
    def deltas(self) -> np.ndarray:
        """(changes,) int64: units added to the group, negative where they go."""
        return np.asarray(self.counts - self.kept[self.groups])


class Touched:
    """Which rows of a table of axes each group touches, so that only they are counted again.

    axes: (rows, depth) int64 axis numbers.
    """

    def __init__(self, network: Network, axes: np.ndarray) -> None:
        units = network.axis_units[axes]  # (rows, depth, groups)
        group, row = np.nonzero((units != 0).any(axis=1).T)
        self.row = row
        self.units = units[row, :, group]
        self.start = np.searchsorted(group, np.arange(len(network.groups) + 1))

    def pairs(self, changes: Changes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(change, row, growth) of every (change, touched row) pair: (pairs,), (pairs,) and (pairs, depth) int64.

        growth: how much longer the change makes each axis of the row.
        """
        start = self.start[changes.groups]
        lengths = self.start[changes.groups + 1] - start
        change = np.repeat(np.arange(len(start)), lengths)
        before = np.cumsum(lengths) - lengths
        pair = np.arange(len(change)) + (start - before)[change]
        return change, self.row[pair], self.units[pair] * changes.deltas[change, None]
