"""Knapsack and global ranking against hand-worked cases and brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeprune.plan.global_ranking import global_ranking
from edgeprune.plan.greedy import Costs
from edgeprune.plan.knapsack import knapsack
from edgeprune.plan.levels import levels, losses
from edgeprune.plan.limits import Limits

pytestmark = pytest.mark.unit


def linear(latency: list[float], size: list[float] | None = None) -> Costs:
    """Costs that are sums over groups of a weight per kept unit."""
    weights = {"latency_ms": np.array(latency), "size_bytes": np.array(size or latency), "ram_bytes": np.array(latency)}
    return {name: (lambda kept, w=w: w @ kept) for name, w in weights.items()}


def test_losses_count_the_least_important_units():
    # Importances 5, 1, 3: keeping two loses the 1, keeping one loses 1 + 3.
    assert losses(np.array([5.0, 1.0, 3.0]), np.array([3, 2, 1])).tolist() == [0.0, 1.0, 4.0]


def test_knapsack_beats_the_greedy_trap():
    """Dearest step first loses here: group 0 alone (loss 3) meets the limit, greedy starts with group 1 (loss 1)
    and must cut group 0 anyway, so the best plan loses 3, not 4."""
    scores = (np.array([3.0, 9.0]), np.array([1.0, 9.0]))
    found = knapsack(scores, linear([10.0, 4.0]), Limits(latency_ms=18.0), 1)
    assert found.kept.tolist() == [1, 2]
    assert found.costs["latency_ms"] == 18.0
    assert found.missed == ()


def test_all_limits_are_kept_together():
    """Latency asks for group 0, size for group 1: both must give one unit."""
    scores = (np.array([1.0, 5.0]), np.array([2.0, 5.0]))
    costs = linear([10.0, 1.0], [1.0, 10.0])
    found = knapsack(scores, costs, Limits(latency_ms=12.0, size_bytes=12.0), 1)
    assert found.kept.tolist() == [1, 1]


def test_a_limit_out_of_reach_is_named():
    found = knapsack((np.array([1.0, 2.0]),), linear([1.0]), Limits(latency_ms=0.5), 1)
    assert found.kept.tolist() == [1]
    assert found.missed == ("latency_ms",)


def test_without_limits_nothing_goes():
    assert knapsack((np.array([1.0, 2.0]),), linear([1.0]), Limits(), 1).kept.tolist() == [2]


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_knapsack_is_as_good_as_brute_force_on_linear_costs(data):
    seed = data.draw(st.integers(0, 10_000))
    generator = np.random.default_rng(seed)
    multiple = data.draw(st.sampled_from([1, 2, 4]))
    units = [data.draw(st.integers(1, 9)) for _ in range(data.draw(st.integers(1, 3)))]
    scores = tuple(generator.random(count) + 0.01 for count in units)
    costs = linear(list(generator.random(len(units)) + 0.1))
    choices = [levels(count, multiple) for count in units]
    plans = [np.array(plan) for plan in itertools.product(*choices)]
    spent = np.array([float(costs["latency_ms"](plan)) for plan in plans])
    limit = float(generator.uniform(spent.min(), spent.max()))

    def loss(plan: np.ndarray) -> float:
        return sum(float(losses(own, plan[g : g + 1])[0]) for g, own in enumerate(scores))

    best = min(loss(plan) for plan, cost in zip(plans, spent, strict=True) if cost <= limit)
    found = knapsack(scores, costs, Limits(latency_ms=limit), multiple)
    assert found.missed == ()
    assert found.costs["latency_ms"] <= limit
    # the solver stops within 0.1 % of the best, relative to the whole objective
    total = sum(float(own.sum()) for own in scores)
    assert loss(found.kept) <= best + 2e-3 * total


def test_global_ranking_uses_one_threshold():
    """Four least important of all are 1, 2 (group 0) and 3, 4 (group 1): 8 -> 4 units, 2 from each group."""
    scores = (np.array([1.0, 2.0, 7.0, 8.0]), np.array([3.0, 4.0, 9.0, 10.0]))
    found = global_ranking(scores, linear([1.0, 1.0]), Limits(latency_ms=4.0), 1)
    assert found.kept.tolist() == [2, 2]


def test_global_ranking_keeps_one_multiple_of_every_group():
    scores = (np.array([1.0] * 16), np.array([5.0] * 16))
    found = global_ranking(scores, linear([1.0, 1.0]), Limits(latency_ms=20.0), 8)
    assert found.kept.tolist() == [8, 8]
    assert found.missed == ()


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10_000), multiple=st.sampled_from([1, 2, 8]))
def test_global_ranking_respects_limit_and_multiple(seed, multiple):
    generator = np.random.default_rng(seed)
    units = generator.integers(1, 40, size=4)
    scores = tuple(generator.random(count) for count in units)
    costs = linear([1.0, 2.0, 0.5, 3.0])
    smallest = np.minimum(units, multiple)
    limit = float(generator.uniform(costs["latency_ms"](smallest), costs["latency_ms"](units)))
    found = global_ranking(scores, costs, Limits(latency_ms=limit), multiple)
    assert found.missed == ()
    assert found.costs["latency_ms"] <= limit
    assert all(kept == count or kept % multiple == 0 for kept, count in zip(found.kept, units, strict=True))
