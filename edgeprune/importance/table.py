"""All criteria."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from edgeprune.errors import InputError, nearest
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


def per_group(scores: np.ndarray, groups: tuple[np.ndarray, ...], comparable: bool) -> tuple[np.ndarray, ...]:
    """The scores of each group's units; criteria whose scale differs between layers are divided by the group's mean."""
    found = []
    for units in groups:
        own = scores[units]
        mean = own.mean() if len(own) else 0.0
        found.append(own if comparable or mean <= 0 else own / mean)
    return tuple(found)
