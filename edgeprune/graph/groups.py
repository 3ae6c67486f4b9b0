"""From ids to prunable groups.

Ids that were united form one *unit*: they are kept or removed together. Units that lie on the same weight axes
the same number of times cost the same; they form a *group* and differ only in importance.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from edgeprune.graph.context import FROZEN
from edgeprune.graph.trace import Trace


@dataclass(frozen=True, eq=False)
class Groups:
    """Units and groups of a traced model.

    unit_of_id: (ids,) int64, the unit of every id.
    group_of_unit: (units,) int64, the group of every unit, -1 for the frozen unit.
    units: per group the unit numbers, in channel order.
    names, layers: per group a unique name and the layers that make its channels.
    """

    unit_of_id: np.ndarray
    group_of_unit: np.ndarray
    units: tuple[np.ndarray, ...]
    names: tuple[str, ...]
    layers: tuple[tuple[str, ...], ...]

    def keep_ids(self, removed_units: np.ndarray) -> np.ndarray:
        """(ids,) bool: which ids stay when the given units are removed."""
        keep = np.ones(len(self.group_of_unit), dtype=bool)
        keep[removed_units] = False
        return keep[self.unit_of_id]


def find_groups(trace: Trace) -> Groups:
    """Solve the unions and sort the units into groups.

    A unit is prunable when it holds no frozen id and at least one weight axis makes it. Each unit gets a
    fingerprint: the sum over all axes of weights, work and tensors of (how often it lies there) x (a random 64-bit
    number of that axis); equal fingerprints mean equal places (the chance of a false match is about units^2 / 2^64).
    """
    context = trace.context
    count = context.next_id
    unit_of_id, n_units = _components(context.edges, count)
    frozen_unit = unit_of_id[FROZEN]

    random = np.random.default_rng(0)
    fingerprint = np.zeros(n_units, dtype=np.uint64)
    made = np.zeros(n_units, dtype=bool)
    producers: list[tuple[str, np.ndarray]] = []
    for weight in context.weights.values():
        if weight.produces in weight.axes:
            units = unit_of_id[weight.axes[weight.produces]]
            made[units] = True
            producers.append((weight.layer, units))
    for ids in _places(trace):
        np.add.at(fingerprint, unit_of_id[ids], random.integers(1, 2**63, dtype=np.uint64))

    prunable = made.copy()
    prunable[frozen_unit] = False
    candidates = np.flatnonzero(prunable)
    _, first, inverse = np.unique(fingerprint[candidates], return_index=True, return_inverse=True)
    order = np.argsort(np.argsort(first))  # number the groups in the order their first unit appears
    group_of_unit = np.full(n_units, -1, dtype=np.int64)
    group_of_unit[candidates] = order[inverse]
    by_group = candidates[np.argsort(group_of_unit[candidates], kind="stable")]
    sizes = np.bincount(group_of_unit[candidates])
    units = tuple(np.split(by_group, np.cumsum(sizes)[:-1])) if len(candidates) else ()

    layers: list[dict[str, None]] = [{} for _ in units]
    for layer, members in producers:
        for group in np.unique(group_of_unit[members]):
            if group >= 0:
                layers[group][layer] = None
    return Groups(unit_of_id, group_of_unit, units, _unique_names(layers), tuple(tuple(names) for names in layers))


def _places(trace: Trace) -> Iterator[np.ndarray]:
    """Every axis whose length pruning can change, as the ids on it."""
    for weight in trace.context.weights.values():
        yield from weight.axes.values()
    for traced in trace.calls:
        for work in traced.works:
            yield from work.over
            if work.inner is not None:
                yield work.inner[1]
    for tensor in trace.tensors:
        yield from tensor.varying_axes().values()


def _components(edges: list[tuple[np.ndarray, np.ndarray]], count: int) -> tuple[np.ndarray, int]:
    """Connected components of the ids; component numbers follow the smallest id in each."""
    if edges:
        left = np.concatenate([edge[0] for edge in edges])
        right = np.concatenate([edge[1] for edge in edges])
    else:
        left = right = np.zeros(0, dtype=np.int64)
    graph = coo_matrix((np.ones(len(left), dtype=np.int8), (left, right)), shape=(count, count))
    n_units, labels = connected_components(graph, directed=False)
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    order = np.argsort(np.argsort(first))
    return order[inverse].astype(np.int64), n_units


def _unique_names(layers: list[dict[str, None]]) -> tuple[str, ...]:
    """The first producing layer of each group, numbered where several groups share it."""
    names: dict[str, None] = {}
    seen: dict[str, int] = {}
    for group in layers:
        first = name = next(iter(group))
        while name in names:
            seen[first] = seen.get(first, 1) + 1
            name = f"{first}#{seen[first]}"
        names[name] = None
    return tuple(names)
