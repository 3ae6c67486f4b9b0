"""The kernels of a model that a build makes sparse: which ones, their zeros, and what those take off the file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeprune.cost.sparse_encoding import SparseKernel
from edgeprune.errors import InputError
from edgeprune.pipeline.analysis import Analysis
from edgeprune.sparsity.criteria.base import Evidence
from edgeprune.sparsity.criteria.lamp import Lamp
from edgeprune.sparsity.patterns import parse_pattern
from edgeprune.sparsity.ranking import WeightRanking
from edgeprune.sparsity.selection import select
from edgeprune.sparsity.weights import PrunableWeight, path_in, prunable_weights

# What is said where the target's runtime computes zeros like any other number.
NO_SPEED_FROM_ZEROS = "zeros make the file smaller, and no speed-up from them is claimed."
# Layers whose kernels the converter never encodes: zeros there would cost accuracy and save nothing.
_STORED_DENSE = ("Conv3D", "Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose")
# Weights of every kernel that stay.
_LEAST = 1
# Layers whose kernels a FULLY_CONNECTED reads.
_FULLY_CONNECTED = ("Dense", "EinsumDense", "LSTMCell", "GRUCell", "SimpleRNNCell")


def sparse_weights(model: Any) -> tuple[PrunableWeight, ...]:
    """The kernels that the strategies "sparse" and N:M prune, in the order of the model's variables.

    Raises:
        InputError: there are none.
    """
    stored = [w for w in prunable_weights(model) if type(w.layer).__name__ not in _STORED_DENSE]
    if not stored:
        raise InputError(
            f'no kernel of "{model.name}" can be stored sparsely by TFLite (Dense, Conv1D, Conv2D and recurrent layers '
            "can); use --strategy structured"
        )
    return select(stored, where="build")


def ranking(weights: tuple[PrunableWeight, ...], pattern: str) -> WeightRanking:
    """How a build ranks weights: all together, so that small layers keep more; N:M fixes the share of each kernel."""
    return WeightRanking(weights, parse_pattern(pattern), (None,) * len(weights), globally=True, least=_LEAST)


def planned_kernels(model: Any, pattern: str, sparsity: float) -> dict[str, SparseKernel]:
    """The kernels by path with as many weights kept as pruning to `sparsity` leaves now. Training changes which go, and
    so how many of a kernel; not how many of all."""
    weights = sparse_weights(model)
    scores = Lamp().bind(Evidence(model, weights)).scores()
    masks = ranking(weights, pattern).masks(scores, 1.0, sparsity, None)
    return {
        weight.path: _kernel(weight, int(np.count_nonzero(mask))) for weight, mask in zip(weights, masks, strict=True)
    }


def stored_kernels(model: Any) -> dict[str, SparseKernel]:
    """The kernels by path with the zeros they have now."""
    return {
        weight.path: _kernel(weight, int(np.count_nonzero(np.asarray(weight.variable))))
        for weight in sparse_weights(model)
    }


def _kernel(weight: PrunableWeight, kept: int) -> SparseKernel:
    positions, outputs, inputs = weight.runtime_view(np.empty(weight.shape, np.bool_)).shape
    kind = type(weight.layer).__name__
    return SparseKernel(positions * outputs, inputs, kept, outputs, kind in _FULLY_CONNECTED)


@dataclass(frozen=True)
class Zeros:
    """Weights of a layer's or model's kernels, and how many of them are zero."""

    weights: int = 0
    zeros: int = 0

    @property
    def share(self) -> float:
        """Sparsity, 0 where there are no kernels."""
        return self.zeros / self.weights if self.weights else 0.0


def zeros_of(kernels: Iterable[SparseKernel]) -> Zeros:
    """The zeros of all kernels together."""
    return total(Zeros(kernel.size, kernel.size - kernel.kept) for kernel in kernels)


def total(zeros: Iterable[Zeros]) -> Zeros:
    """The sum of several."""
    listed = list(zeros)
    return Zeros(sum(one.weights for one in listed), sum(one.zeros for one in listed))


def layer_zeros(analysis: Analysis, planned: dict[str, SparseKernel] | None = None) -> dict[str, Zeros]:
    """The zeros in the kernels of each layer: those there are, or with `planned` those that there will be."""
    found: dict[str, Zeros] = {}
    seen: set[int] = set()
    for weight in analysis.trace.context.weights.values():
        if weight.role != "kernel" or id(weight.variable) in seen:
            continue
        seen.add(id(weight.variable))
        kernel = None if planned is None else planned.get(path_in(analysis.model, weight.variable))
        if kernel is None:
            value = np.asarray(weight.variable)
            own = Zeros(value.size, value.size - int(np.count_nonzero(value)))
        else:
            own = Zeros(kernel.size, kernel.size - kernel.kept)
        found[weight.layer] = total([found.get(weight.layer, Zeros()), own])
    return found
