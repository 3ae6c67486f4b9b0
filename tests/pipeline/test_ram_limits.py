"""Allocation under a RAM limit that has to hold with activations placed as the runtime places them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeprune.cost.model import CostModel
from edgeprune.pipeline.allocation import ALLOCATIONS, allocate
from edgeprune.pipeline.costs import PlanCosts
from edgeprune.plan.limits import Limits
from tests.cost.small_networks import RATES, random_network

pytestmark = pytest.mark.unit


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    name=st.sampled_from(list(ALLOCATIONS)),
    multiple=st.sampled_from([1, 4]),
    share=st.floats(0, 1),
)
def test_limits_that_the_smallest_plan_meets_are_met(seed, name, multiple, share):
    """Placing needs more than the bound that allocation steers by, and not always less for fewer channels."""
    network = random_network(seed)
    costs = PlanCosts(CostModel(network, RATES, "int8", multiple))
    smallest = costs.exact(np.minimum(network.full, multiple))["ram_bytes"]
    limit = smallest + share * max(costs.exact(network.full)["ram_bytes"] - smallest, 0.0)
    scores = tuple(np.random.default_rng(seed).random(group.units) for group in network.groups)
    found = allocate(name, scores, costs, Limits(ram_bytes=limit), multiple)
    assert found.missed == ()
    assert found.costs == costs.exact(found.kept)
    assert found.costs["ram_bytes"] <= limit


def test_a_limit_out_of_reach_is_named_with_what_was_reached():
    network = random_network(3)
    costs = PlanCosts(CostModel(network, RATES, "int8"))
    scores = tuple(np.ones(group.units) for group in network.groups)
    smallest = costs.exact(np.ones_like(network.full))
    found = allocate("greedy", scores, costs, Limits(latency_ms=1e6, ram_bytes=smallest["ram_bytes"] - 1), 1)
    assert found.missed == ("ram_bytes",)
    assert found.costs == smallest
