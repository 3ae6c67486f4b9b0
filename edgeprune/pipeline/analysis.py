"""A model traced once: everything later steps ask about its channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeprune.errors import InputError
from edgeprune.graph.groups import Groups, find_groups
from edgeprune.graph.network import to_network
from edgeprune.graph.observe import observer
from edgeprune.graph.surgery import remove_channels
from edgeprune.graph.trace import OUTPUT_REASON, Trace, trace
from edgeprune.importance.table import check_aggregate, criterion, normalization, per_group, score_units
from edgeprune.plan.select import units_to_remove
from edgeprune.records.importance import UnitActivation, UnitWeight
from edgeprune.records.network import Network
from edgeprune.records.report import FrozenRow


@dataclass(frozen=True, eq=False)
class Analysis:
    """A Keras model with its trace, groups and costs."""

    model: Any
    trace: Trace
    groups: Groups
    network: Network

    def unit_weights(self) -> list[UnitWeight]:
        """The variables that make or ride on channels, for importance criteria."""
        found = []
        for weight in self.trace.context.weights.values():
            axis = weight.produces if weight.role == "kernel" else (0 if 0 in weight.axes else None)
            if axis is not None and axis in weight.axes:
                units = self.groups.unit_of_id[weight.axes[axis]]
                found.append(UnitWeight(weight.layer, weight.variable, weight.role, axis, units))
        return found

    def unit_activations(self) -> list[UnitActivation]:
        """The activations that computing layers read, for importance criteria."""
        found = {}
        for traced in self.trace.calls:
            if any(work.kind in ("conv", "depthwise", "dense") for work in traced.works):
                for number in traced.inputs:
                    units = self.groups.unit_of_id[self.trace.tensors[number].ids[0]]
                    found[number] = UnitActivation(traced.call.path, number, units)
        return list(found.values())

    def scores(
        self, name: str, *, aggregate: str = "sum", normalize: str = "auto", **options: Any
    ) -> tuple[np.ndarray, ...]:
        """Importance of the units of every group by the named criterion.

        aggregate: how the variables that make a unit are combined, see importance.aggregate. normalize: what the
        scores of each group are divided by, see importance.table.
        """
        check_aggregate(aggregate)
        divided_by = normalization(name, normalize)
        if criterion(name).reads_activations:
            activations = self.unit_activations()
            observe = observer(self.model, [activation.tensor for activation in activations])
            options = {**options, "activations": activations, "observe": observe}
        n_units = len(self.groups.group_of_unit)
        everything = score_units(name, self.unit_weights(), n_units, aggregate=aggregate, **options)
        return per_group(everything, self.groups.units, divided_by)

    def shrink(self, scores: tuple[np.ndarray, ...], kept: np.ndarray) -> Any:
        """The smaller Keras model that keeps the most important units of every group. kept: (groups,)."""
        removed = units_to_remove(self.groups.units, scores, kept)
        return remove_channels(self.model, self.trace, self.groups.keep_ids(removed))

    def frozen(self) -> tuple[FrozenRow, ...]:
        """Layers whose channels stay, each with its reasons in one row."""
        reasons: dict[tuple[str, str], list[str]] = {}
        for freeze in self.trace.context.freezes:
            reasons.setdefault((freeze.layer, freeze.kind), []).append(freeze.reason)
        kinds = {traced.call.path: traced.call.kind for traced in self.trace.calls}
        sizes: dict[str, int] = {}
        for units, layers in zip(self.groups.units, self.groups.layers, strict=True):
            for layer in layers:
                sizes[layer] = max(sizes.get(layer, 0), len(units))
        for layer, largest in sizes.items():
            if largest == 1:
                reasons.setdefault((layer, kinds.get(layer, "")), []).append(ONE_UNIT)
        return tuple(FrozenRow(layer, kind, _reason(found)) for (layer, kind), found in reasons.items())


ONE_UNIT = "its channels are coupled so closely that none can go without all of their kind"


def _reason(found: list[str]) -> str:
    """That a layer is the model's output explains enough."""
    return OUTPUT_REASON if OUTPUT_REASON in found else "; ".join(dict.fromkeys(found))


def analyse(model: Any) -> Analysis:
    """Trace a model and find its groups.

    Raises:
        InputError: not a Keras model, or one whose graph can't be read.
    """
    import keras

    if not isinstance(model, keras.Model):
        raise InputError(
            f"expected a Keras 3 model, received {type(model).__name__}; load it with keras.models.load_model"
        )
    traced = trace(model)
    groups = find_groups(traced)
    return Analysis(model, traced, groups, to_network(traced, groups))
