"""Which allocation a build uses: one by name, or the one that validates best on this model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from edgeprune.errors import InputError, nearest
from edgeprune.pipeline.costs import PlanCosts
from edgeprune.plan.global_ranking import global_ranking
from edgeprune.plan.greedy import Allocation, Costs, greedy
from edgeprune.plan.knapsack import knapsack
from edgeprune.plan.limits import Limits
from edgeprune.plan.sensitivity import SensitivityMap, by_sensitivity
from edgeprune.plan.uniform import uniform_to_limits

Allocate = Callable[[tuple[np.ndarray, ...], Costs, Limits, int], Allocation]

# Those that need nothing but scores and costs.
ALLOCATIONS: dict[str, Allocate] = {
    "uniform": uniform_to_limits,
    "global": global_ranking,
    "greedy": greedy,
    "knapsack": knapsack,
}
# Needs a measured map as well.
SENSITIVITY = "sensitivity"
# Drops residual blocks first, then channels by knapsack.
DEPTH = "depth"
CHOICES = ("auto", *ALLOCATIONS, SENSITIVITY, DEPTH)

# Doubling what is taken off a limit reaches any limit of less than 2^32 times what was over.
_RAM_ATTEMPTS = 32


def check_allocation(name: str) -> None:
    """Refuse an unknown name.

    Raises:
        InputError: names the nearest.
    """
    if name not in CHOICES:
        raise InputError(f'unknown allocation "{name}"; {nearest(name, CHOICES)}')


def allocate(
    name: str,
    scores: tuple[np.ndarray, ...],
    costs: PlanCosts,
    limits: Limits,
    multiple: int,
    measured: SensitivityMap | None = None,
) -> Allocation:
    """An allocation whose RAM holds with activations placed as the runtime places them.

    Allocation steers by a lower bound of the RAM; where placing needs more, the limit is lowered by that much, and by
    twice as much each time it is not enough: in the end the smallest plan is tried.
    """
    lowered = limits
    for attempt in range(_RAM_ATTEMPTS):
        if name == SENSITIVITY:
            assert measured is not None
            found = by_sensitivity(measured, costs.functions, lowered)
        else:
            found = ALLOCATIONS[name](scores, costs.functions, lowered, multiple)
        exact = costs.exact(found.kept)
        missed = tuple(cost for cost, limit in limits.items() if exact[cost] > limit)
        allocation = Allocation(found.kept, exact, missed)
        over = 0.0 if limits.ram_bytes is None else exact["ram_bytes"] - limits.ram_bytes
        # found.missed: it is at its smallest, and no lower limit changes it
        if over <= 0 or missed != ("ram_bytes",) or found.missed or lowered.ram_bytes is None:
            break
        lowered = replace(lowered, ram_bytes=max(lowered.ram_bytes - over * 2**attempt, 1.0))
    return allocation
