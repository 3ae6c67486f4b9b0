"""Measuring the sensitivity map: how much worse the model gets when one group alone keeps fewer units.

Nothing is cut: everything that reads a removed channel is set to zero and restored, which gives the same outputs as
removing it. The map is stored under the user's cache folder by what it depends on (weights, data, criterion),
so another target or budget measures nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from edgeprune.atomic import write_json
from edgeprune.errors import InputError
from edgeprune.pipeline.analysis import Analysis
from edgeprune.plan.select import units_to_remove
from edgeprune.plan.sensitivity import SensitivityMap, probe_counts
from edgeprune.progress import progress

_POINTS = 6


def sensitivity_map(
    analysis: Analysis, scores: tuple[np.ndarray, ...], multiple: int, evaluate: Callable[[], float], key: str
) -> SensitivityMap:
    """The map of a model, measured or read from the cache.

    Args:
        evaluate: the loss of `analysis.model` on validation data, lower is better.
        key: says what the map depends on besides the multiple.
    """
    counts = tuple(probe_counts(len(own), multiple, _POINTS) for own in scores)
    stored = _cache_folder() / f"{hashlib.sha256(f'{key} {multiple} {_POINTS}'.encode()).hexdigest()[:32]}.json"
    wanted = [own.tolist() for own in counts]
    # A cache that is damaged or can't be written is as good as none.
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        document = json.loads(stored.read_text(encoding="utf-8"))
        if document["counts"] == wanted:
            return SensitivityMap(counts, tuple(np.array(own, dtype=np.float64) for own in document["harm"]))
    harm = measure(analysis, scores, counts, evaluate)
    with contextlib.suppress(OSError, InputError):
        write_json(stored, {"counts": wanted, "harm": [own.tolist() for own in harm]})
    return SensitivityMap(counts, harm)


def measure(
    analysis: Analysis, scores: tuple[np.ndarray, ...], counts: tuple[np.ndarray, ...], evaluate: Callable[[], float]
) -> tuple[np.ndarray, ...]:
    """Per group the increase of the loss at each count; a loss that is not finite counts as very bad."""
    full = evaluate()
    harm = []
    kept = analysis.network.full
    with progress("sensitivity of each group", sum(len(own) - 1 for own in counts)) as advance:
        for group, levels in enumerate(counts):
            own = [0.0]
            for count in levels[1:]:
                removed = units_to_remove(analysis.groups.units, scores, _with(kept, group, int(count)))
                change = _evaluate_masked(analysis, removed, evaluate) - full
                own.append(float(np.nan_to_num(change, nan=1e9, posinf=1e9, neginf=0.0)))
                advance(1, analysis.groups.names[group])
            harm.append(np.array(own))
    return tuple(harm)


def _evaluate_masked(analysis: Analysis, removed: np.ndarray, evaluate: Callable[[], float]) -> float:
    keep = analysis.groups.keep_ids(removed)
    changed = []
    try:
        for variable, axes in _readers(analysis):
            masks = [(axis, keep[ids]) for axis, ids in axes if not keep[ids].all()]
            if masks:
                value = np.asarray(variable)
                changed.append((variable, value))
                for axis, mask in masks:
                    shape = [1] * value.ndim
                    shape[axis] = len(mask)
                    value = value * mask.reshape(shape).astype(value.dtype)
                variable.assign(value)
        return evaluate()
    finally:
        for variable, value in changed:
            variable.assign(value)


def _readers(analysis: Analysis) -> Iterable[tuple[Any, list[tuple[int, np.ndarray]]]]:
    """Every kernel with the axes that read channels."""
    for weight in analysis.trace.context.weights.values():
        if weight.role == "kernel":
            yield weight.variable, [(axis, ids) for axis, ids in weight.axes.items() if axis != weight.produces]


def _with(kept: np.ndarray, group: int, count: int) -> np.ndarray:
    changed = kept.copy()
    changed[group] = count
    return changed


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "edgeprune" / "sensitivity"
