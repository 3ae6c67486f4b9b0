"""All criteria."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from edgeprune.errors import InputError, nearest
from edgeprune.importance.aggregate import AGGREGATES
from edgeprune.records.importance import Criterion, UnitWeight

CRITERIA = {
    "l1": Criterion("l1", "edgeprune.importance.magnitude", needs_data=False, comparable=False),
    "l2": Criterion("l2", "edgeprune.importance.l2", needs_data=False, comparable=False),
    "bn_scale": Criterion("bn_scale", "edgeprune.importance.bn_scale", needs_data=False, comparable=False),
    "fpgm": Criterion("fpgm", "edgeprune.importance.fpgm", needs_data=False, comparable=False),
    "taylor": Criterion("taylor", "edgeprune.importance.taylor", needs_data=True, comparable=True),
    "snip": Criterion("snip", "edgeprune.importance.snip", needs_data=True, comparable=True),
    "apoz": Criterion("apoz", "edgeprune.importance.apoz", True, False, reads_activations=True),
    "mean_activation": Criterion(
        "mean_activation", "edgeprune.importance.mean_activation", True, False, reads_activations=True
    ),
    "random": Criterion("random", "edgeprune.importance.random", needs_data=False, comparable=True),
}

_SCALES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "none": lambda own: np.float64(1.0),
    "mean": np.mean,
    "sum": np.sum,
    "max": np.max,
}
NORMALIZATIONS = ("auto", *_SCALES)


def criterion(name: str) -> Criterion:
    """The criterion of that name.

    Raises:
        InputError: there is none.
    """
    if name not in CRITERIA:
        raise InputError(f'unknown criterion "{name}"; {nearest(name, CRITERIA)}')
    return CRITERIA[name]


def score_units(name: str, weights: Iterable[UnitWeight], n_units: int, **options: Any) -> np.ndarray:
    """(units,) float64 importance of every unit by the named criterion; `options` as the criterion takes them."""
    module = importlib.import_module(criterion(name).module)
    return np.asarray(module.score(list(weights), n_units, **options))


def per_group(scores: np.ndarray, groups: tuple[np.ndarray, ...], normalize: str) -> tuple[np.ndarray, ...]:
    """The scores of each group's units, divided by what `normalize` says: nothing, or the group's mean, sum or max."""
    found = []
    for units in groups:
        own = scores[units]
        scale = float(_SCALES[normalize](own)) if len(own) else 0.0
        found.append(own / scale if scale > 0 else own)
    return tuple(found)


def normalization(name: str, wanted: str) -> str:
    """The normalization to use for a criterion: "auto" is the mean where its scale differs between layers, else none.

    Raises:
        InputError: an unknown normalization.
    """
    if wanted not in NORMALIZATIONS:
        raise InputError(f'unknown normalization "{wanted}"; {nearest(wanted, NORMALIZATIONS)}')
    if wanted == "auto":
        return "none" if criterion(name).comparable else "mean"
    return wanted


def check_aggregate(aggregate: str) -> None:
    """Refuse an unknown aggregation.

    Raises:
        InputError: names the nearest.
    """
    if aggregate not in AGGREGATES:
        raise InputError(f'unknown aggregation "{aggregate}"; {nearest(aggregate, AGGREGATES)}')
