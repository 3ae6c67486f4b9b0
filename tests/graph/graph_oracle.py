"""The oracle of graph/: a model with the readers of removed channels zeroed equals the smaller model.

Nothing here uses what surgery did: the zeroed model is the user's dense model with some kernel entries set to
zero, and the counts are found again by tracing the smaller model as if it had come from a file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from kept_statistics import with_kept_statistics

from edgeprune.cost.counts import ExtentTable, total_macs, total_params
from edgeprune.graph.groups import Groups, find_groups
from edgeprune.graph.network import to_network
from edgeprune.graph.surgery import remove_channels
from edgeprune.graph.trace import Trace, trace
from edgeprune.records.network import Network

RELATIVE_TOLERANCE = 1e-4


@dataclass(frozen=True, eq=False)
class Pruned:
    """A model, what was found in it, and the model that is left after some units were removed.

    kept: (groups,) units kept. keep_ids: (ids,) bool.
    """

    model: Any
    trace: Trace
    groups: Groups
    network: Network
    kept: np.ndarray
    keep_ids: np.ndarray
    smaller: Any


def randomize(model: Any, seed: int = 0) -> None:
    """Give every variable random values that keep signals alive: kernels scaled by their fan-in, moving variances
    positive, everything else near its usual value but never equal to it.

    The gain of a kernel is 1, not the usual 2 before ReLU: a deep net that amplifies signals amplifies rounding errors
    too, until float32 can't tell two ways to sum the same numbers from a mistake.
    """
    rng = np.random.default_rng(seed)
    depthwise = set()
    for layer in model._flatten_layers():
        if isinstance(layer, (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)):
            depthwise.add(id(layer.kernel))
        elif isinstance(layer, (keras.layers.SeparableConv1D, keras.layers.SeparableConv2D)):
            depthwise.add(id(layer.depthwise_kernel))
    for variable in model.weights:
        shape, name = tuple(variable.shape), variable.path.rsplit("/", 1)[-1]
        if "variance" in name:
            value = rng.uniform(0.5, 1.5, shape)
        elif "gamma" in name or name in ("scale", "alpha"):
            value = rng.uniform(0.6, 1.4, shape)
        elif len(shape) >= 2:
            fan_in = max(1, int(np.prod(shape[:-1])))
            if id(variable) in depthwise:
                fan_in = int(np.prod(shape[:-2]))
            value = rng.normal(0.0, np.sqrt(1.0 / fan_in), shape)
        elif np.issubdtype(np.dtype(variable.dtype), np.floating):
            value = rng.normal(0.0, 0.3, shape)
        else:
            continue
        variable.assign(value)
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # it computes with copies of its variables


def random_inputs(model: Any, batch: int = 3, seed: int = 1) -> Any:
    """Inputs of the model's structure, unknown lengths become 6.

    Standard normal, up to the size of pixels where the model scales pixels down itself, or whole numbers from 0 to 4.
    """
    rng = np.random.default_rng(seed)
    spread = 100.0 if any(isinstance(layer, keras.layers.Rescaling) for layer in model._flatten_layers()) else 1.0

    def one(tensor: Any) -> np.ndarray:
        shape = (batch, *(length or 6 for length in tensor.shape[1:]))
        if "int" in tensor.dtype:
            return rng.integers(0, 5, shape).astype(tensor.dtype)
        return rng.normal(scale=spread, size=shape).astype(np.float32)

    return keras.tree.map_structure(one, model._inputs_struct if hasattr(model, "_inputs_struct") else model.inputs[0])


def outputs(model: Any, inputs: Any) -> list[np.ndarray]:
    """The model's outputs in inference mode, flattened into a list."""
    return [np.asarray(value) for value in keras.tree.flatten(model(inputs, training=False))]


def random_units(groups: Groups, ratio: float, seed: int = 2) -> np.ndarray:
    """About `ratio` of every group's units, at least one of each group left and, where it has two, one taken."""
    rng = np.random.default_rng(seed)
    taken = []
    for units in groups.units:
        count = min(len(units) - 1, max(1, round(len(units) * ratio)))
        taken.append(rng.choice(units, count, replace=False))
    return np.concatenate(taken) if taken else np.zeros(0, dtype=np.int64)


def prune(model: Any, ratio: float = 0.4, seed: int = 2) -> Pruned:
    """Trace, find groups, remove a random part of every group."""
    traced = trace(model)
    groups = find_groups(traced)
    network = to_network(traced, groups)
    removed = random_units(groups, ratio, seed)
    keep_ids = groups.keep_ids(removed)
    kept = np.array([len(units) - int(np.isin(units, removed).sum()) for units in groups.units], dtype=np.int64)
    return Pruned(model, traced, groups, network, kept, keep_ids, remove_channels(model, traced, keep_ids))


def masked_outputs(pruned: Pruned, inputs: Any) -> list[np.ndarray]:
    """What the dense model gives when every kernel entry that reads a removed channel is zero.

    Normalizations over channels take their statistics over the kept channels here: removing a channel can't be exact
    where it was part of a mean, so equality with this model is the (weaker) property that is held.
    """
    dense = with_kept_statistics(pruned.model, pruned.trace, pruned.keep_ids)
    before = {}
    for key, weight in pruned.trace.context.weights.items():
        if weight.role != "kernel":
            continue
        value = before[key] = np.asarray(weight.variable)
        masked = value.copy()
        for axis, ids in weight.axes.items():
            if axis != weight.produces:
                gone = np.flatnonzero(~pruned.keep_ids[ids])
                masked[(slice(None),) * axis + (gone,)] = 0.0
        weight.variable.assign(masked)
    try:
        return outputs(dense, inputs)
    finally:
        for key, value in before.items():
            pruned.trace.context.weights[key].variable.assign(value)


def assert_same(wanted: list[np.ndarray], found: list[np.ndarray], tolerance: float = RELATIVE_TOLERANCE) -> None:
    """Equal shapes and max |wanted - found| <= tolerance x max |wanted|, per output."""
    assert len(wanted) == len(found)
    for left, right in zip(wanted, found, strict=True):
        assert left.shape == right.shape
        scale = np.abs(left).max()
        assert np.isfinite(scale)
        error = np.abs(left - right).max() / max(scale, 1e-12)
        assert error <= tolerance, f"relative error {error:.2e}"


def assert_counts(pruned: Pruned) -> None:
    """MACs of every operation, parameters of every weight and sizes of every tensor: predicted == found again."""
    again = trace(pruned.smaller)
    groups = find_groups(again)
    network = to_network(again, groups)
    before, kept = pruned.network, pruned.kept
    for rows, wanted in (
        (before.ops, network.ops),
        (before.weights, network.weights),
        (before.tensors, network.tensors),
    ):
        assert len(rows) == len(wanted)
    predicted, found = before.widths(kept), network.widths(network.full)

    def sizes(net: Network, widths: np.ndarray) -> tuple[np.ndarray, ...]:
        parts = ([op.macs for op in net.ops], [w.extent for w in net.weights], [t.extent for t in net.tensors])
        return tuple(ExtentTable(part).values(widths) for part in parts)

    for mine, theirs in zip(sizes(before, predicted), sizes(network, found), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert total_params(before, kept) == pruned.smaller.count_params()
    assert total_params(before, before.full) == pruned.model.count_params()
    assert total_macs(before, kept) == total_macs(network, network.full)


def check(model: Any, ratio: float = 0.4, seed: int = 2) -> Pruned:
    """Randomize, prune, and hold the oracle and the counts. Returns what was pruned for further questions."""
    randomize(model, seed)
    inputs = random_inputs(model)
    pruned = prune(model, ratio, seed)
    assert_same(masked_outputs(pruned, inputs), outputs(pruned.smaller, inputs))
    assert_counts(pruned)
    return pruned


def group_sizes(model: Any) -> dict[str, int]:
    """Group name -> number of units."""
    groups = find_groups(trace(model))
    return {name: len(units) for name, units in zip(groups.names, groups.units, strict=True)}


def frozen_reasons(model: Any) -> dict[str, str]:
    """Layer path -> reason, model outputs left out."""
    found = trace(model).context.freezes
    return {freeze.layer: freeze.reason for freeze in found if freeze.reason != "model output"}
