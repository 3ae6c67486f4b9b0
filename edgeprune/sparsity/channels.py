"""Whole channels: masked in training with everything that reads them, removed by surgery afterwards.

A channel that nothing reads adds nothing, so the surgically smaller model gives the same outputs as the masked one.
Normalizations that take statistics over channels do read them, and would see others after surgery: what passes one
stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeprune.errors import InputError
from edgeprune.graph.context import WeightAxes
from edgeprune.graph.groups import Groups, find_groups
from edgeprune.graph.surgery import remove_channels
from edgeprune.graph.trace import Trace, trace
from edgeprune.sparsity.selection import per_layer, select
from edgeprune.sparsity.threshold import keep_largest
from edgeprune.sparsity.weights import PrunableWeight, default_is_pruned, path_in, prunable_weights

_OVER_CHANNELS = {"LayerNormalization", "RMSNormalization", "UnitNormalization", "GroupNormalization"}


@dataclass(frozen=True, eq=False)
class ChannelRanking:
    """Ranks units of coupled channels; sparsity is the share of units of each group.

    scored: the kernels that make the channels. producers: for each of them (axis, units on it). members: the units of
    each group that may lose some. own: the final sparsity of groups that have their own. kernels: all that is
    masked, with the units on its axes.
    """

    scored: tuple[PrunableWeight, ...]
    producers: tuple[tuple[int, np.ndarray], ...]
    members: tuple[np.ndarray, ...]
    own: tuple[float | None, ...]
    kernels: tuple[tuple[str, Any, dict[int, np.ndarray]], ...]
    units: int
    globally: bool

    @property
    def masked(self) -> tuple[tuple[str, Any], ...]:
        return tuple((path, variable) for path, variable, _ in self.kernels)

    def masks(
        self, scores: Sequence[np.ndarray], pace: float, sparsity: float, threshold: float | None
    ) -> list[np.ndarray]:
        means = self._unit_means(scores)
        keep = np.ones(self.units, dtype=bool)
        ranked = []
        for members in self.members:
            own = means[members]
            if threshold is not None:
                own = np.where(own > threshold, np.float32(np.inf), own)
            own = own.copy()
            own[np.argmax(means[members])] = np.inf  # one channel of a group always stays
            ranked.append(own)
        shared = [n for n, own in enumerate(self.own) if own is None] if self.globally else []
        batches = [shared] if shared else []
        batches += [[n] for n in range(len(self.members)) if n not in set(shared)]
        for batch in batches:
            own = self.own[batch[0]]
            wanted = sum(round(len(self.members[n]) * (sparsity if own is None else own * pace)) for n in batch)
            chosen = [ranked[n] for n in batch]
            wanted = min(wanted, sum(int(np.count_nonzero(one < np.inf)) for one in chosen))
            for n, kept in zip(batch, keep_largest(chosen, wanted), strict=True):
                keep[self.members[n]] = kept
        return [_on_axes(tuple(variable.shape), axes, keep) for _, variable, axes in self.kernels]

    def _unit_means(self, scores: Sequence[np.ndarray]) -> np.ndarray:
        """(units,) float32: mean score of the weights that make a unit."""
        totals, counts = np.zeros(self.units), np.zeros(self.units)
        for own, (axis, units) in zip(scores, self.producers, strict=True):
            others = tuple(d for d in range(own.ndim) if d != axis)
            totals += np.bincount(units, weights=own.sum(axis=others, dtype=np.float64), minlength=self.units)
            counts += np.bincount(units, minlength=self.units) * (own.size // len(units))
        return (totals / np.maximum(counts, 1)).astype(np.float32)


def channel_ranking(
    model: Any, include: Any, exclude: Any, layer_sparsity: Any, globally: bool, where: str
) -> ChannelRanking:
    """The ranking of a model's channels. A group is pruned when every kernel that makes its channels is selected.

    Raises:
        InputError: a filter matches nothing, or no channel can go.
    """
    weights = prunable_weights(model)
    selected = {id(weight.variable) for weight in select(weights, include, exclude, where=where)}
    skipped = {id(w.variable) for w in weights if id(w.variable) not in selected and default_is_pruned(w)}
    traced = trace(model)
    groups = find_groups(traced)
    blocked = _in_statistics(traced, groups)
    makers: list[tuple[PrunableWeight, int, np.ndarray]] = []
    by_variable = {id(weight.variable): weight for weight in weights}
    for found in _kernels(traced):
        if found.produces is None or found.produces not in found.axes:
            continue
        units = groups.unit_of_id[found.axes[found.produces]]
        if id(found.variable) in skipped:
            blocked[units] = True
        elif id(found.variable) in by_variable:
            makers.append((by_variable[id(found.variable)], found.produces, units))
    members = tuple(own for own in groups.units if len(own) > 1 and not blocked[own].any())
    free = np.zeros(len(blocked), dtype=bool)
    for own in members:
        free[own] = True
    makers = [maker for maker in makers if free[maker[2]].any()]
    if not members or not makers:
        raise InputError(
            f'{where}: no channel of "{model.name}" can be masked; its layers are excluded, coupled to the model\'s '
            "outputs, or normalized over channels (prune_channels can cut those)"
        )
    scored = tuple(weight for weight, _, _ in makers)
    own_of_layer = per_layer(scored, layer_sparsity or {}, where=where)
    by_group: list[float | None] = [None] * len(members)
    for sparsity, (_, _, units) in zip(own_of_layer, makers, strict=True):
        present = np.zeros(len(blocked), dtype=bool)
        present[units] = True
        if sparsity is not None:
            by_group = [sparsity if present[m].any() else now for m, now in zip(members, by_group, strict=True)]
    return ChannelRanking(
        scored,
        tuple((axis, units) for _, axis, units in makers),
        members,
        tuple(by_group),
        tuple(_masked_kernels(model, traced, groups, free)),
        len(blocked),
        globally,
    )


def remove_pruned_channels(model: Any) -> Any:
    """A smaller model without the channels that nothing reads any more; the outputs stay the same.

    For a model that was trained with `PruningCallback(pattern="channels")`, also after saving and loading it. The
    given model is not changed; the compiled state is kept.

    Raises:
        InputError: the model's graph can't be read, or nothing can be removed.
    """
    prunable_weights(model)  # refuses what is no built model
    traced = trace(model)
    groups = find_groups(traced)
    read = _in_statistics(traced, groups)
    for weight in _kernels(traced):
        value = np.asarray(weight.variable) != 0
        for axis, ids in weight.axes.items():
            if axis != weight.produces:
                others = tuple(d for d in range(value.ndim) if d != axis)
                read[groups.unit_of_id[ids[value.any(axis=others)]]] = True
    removed = []
    for members in groups.units:
        unread = members[~read[members]]
        removed.append(unread[1:] if len(unread) == len(members) else unread)  # a layer keeps one channel
    everything = np.concatenate(removed) if removed else np.zeros(0, dtype=np.int64)
    if not len(everything):
        raise InputError(
            f'no channel of "{model.name}" is pruned; train it with PruningCallback(..., pattern="channels") first'
        )
    return remove_channels(model, traced, groups.keep_ids(everything))


def _kernels(traced: Trace) -> list[WeightAxes]:
    return [weight for weight in traced.context.weights.values() if weight.role == "kernel"]


def _in_statistics(traced: Trace, groups: Groups) -> np.ndarray:
    """(units,) bool: whether a normalization takes statistics over the channel and others."""
    found = np.zeros(len(groups.group_of_unit), dtype=bool)
    for call in traced.calls:
        if any(kind.__name__ in _OVER_CHANNELS for kind in type(call.call.operation).__mro__):
            for number in call.inputs:
                found[np.unique(groups.unit_of_id[traced.tensors[number].ids])] = True
    return found


def _masked_kernels(
    model: Any, traced: Trace, groups: Groups, free: np.ndarray
) -> list[tuple[str, Any, dict[int, np.ndarray]]]:
    found = []
    for weight in _kernels(traced):
        axes = {axis: groups.unit_of_id[ids] for axis, ids in weight.axes.items()}
        if any(free[units].any() for units in axes.values()):
            found.append((path_in(model, weight.variable), weight.variable, axes))
    return found


def _on_axes(shape: tuple[int, ...], axes: dict[int, np.ndarray], keep: np.ndarray) -> np.ndarray:
    mask = np.ones(shape, dtype=bool)
    for axis, units in axes.items():
        along = [1] * len(shape)
        along[axis] = len(units)
        mask &= keep[units].reshape(along)
    return mask
