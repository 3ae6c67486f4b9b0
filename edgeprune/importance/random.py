"""Random importance: the baseline every criterion must beat. Needs no data."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from edgeprune.records.importance import UnitWeight


def score(weights: Iterable[UnitWeight], n_units: int, *, seed: int = 0, **_: Any) -> np.ndarray:
    """(units,) float64, uniform in (0, 1]."""
    return 1.0 - np.random.default_rng(seed).random(n_units)
