"""Greedy allocation: steps worked out by hand, its promises on any costs, and plain loops on small networks."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeprune.cost.change import Changes
from edgeprune.cost.model import CostModel
from edgeprune.pipeline.costs import PlanCosts
from edgeprune.plan.changes import changed_costs
from edgeprune.plan.greedy import Allocation, Costs, greedy, next_step
from edgeprune.plan.limits import Limits
from edgeprune.records.network import Extent, GroupRecord, Network, OpRecord, TensorRecord, WeightRecord
from tests.cost import small_networks as by_loops
from tests.cost.small_networks import EXACT_RATES, RATES, random_network

pytestmark = pytest.mark.unit


def linear(**weights: list[float]) -> Costs:
    """Costs that are sums over groups of a weight per kept unit."""
    return {name: (lambda kept, own=own: np.array(own) @ kept) for name, own in weights.items()}


def floats(*scores: list[float]) -> tuple[np.ndarray, ...]:
    return tuple(np.array(own, dtype=float) for own in scores)


def test_the_step_with_the_least_loss_per_saved_millisecond_is_first():
    """Of 18 ms one unit of A saves 4 (loses 3), one of B saves 2 (loses 1): B is cheaper by the millisecond. Only 2
    are to be saved, so saving 4 counts as 2."""
    costs = linear(latency_ms=[4.0, 2.0])
    found = greedy(floats([3, 9, 9], [1, 9, 9]), costs, Limits(latency_ms=16.0), 1)
    assert (found.kept.tolist(), found.costs, found.missed) == ([3, 2], {"latency_ms": 16.0}, ())


def test_the_dearer_unit_goes_first_where_it_saves_more():
    """6 of 18 ms must go. A: loses 3 for 4 ms, B: 2 for 2 ms. A first; then 2 ms are left: B (2) beats A (9)."""
    costs = linear(latency_ms=[4.0, 2.0])
    found = greedy(floats([3, 9, 9], [2, 9, 9]), costs, Limits(latency_ms=12.0), 1)
    assert found.kept.tolist() == [2, 2]


def test_saving_more_than_needed_counts_no_more():
    """1 of 11 ms must go. A saves 10 and loses 3, B saves 1 and loses 2: both do all that is needed, B for less."""
    found = greedy(floats([3, 9], [2, 9]), linear(latency_ms=[5.0, 0.5]), Limits(latency_ms=10.5), 1)
    assert found.kept.tolist() == [2, 1]


def test_shares_of_all_unmet_limits_add_up():
    """Latency must lose 2 of 6, size 6 of 21. A unit of A saves 1 ms (1/2) and no byte, of B 1 ms and 3 bytes
    (1/2 + 1/2), of C 4 bytes (2/3). At equal loss B goes first, and again; then nothing is left to save."""
    costs = linear(latency_ms=[1.0, 1.0, 0.0], size_bytes=[0.0, 3.0, 4.0])
    scores = floats([1, 1, 1], [1, 1, 1], [1, 1, 1])
    full = {name: float(cost(np.array([3, 3, 3]))) for name, cost in costs.items()}
    assert full == {"latency_ms": 6.0, "size_bytes": 21.0}
    found = greedy(scores, costs, Limits(latency_ms=4.0, size_bytes=15.0), 1)
    assert found.kept.tolist() == [3, 1, 3]


def test_a_limit_that_is_met_no_longer_counts():
    """Size is met from the start, so bytes that B would save besides are worth nothing."""
    costs = linear(latency_ms=[1.0, 1.0], size_bytes=[0.0, 100.0])
    found = greedy(floats([1, 5], [2, 5]), costs, Limits(latency_ms=3.0, size_bytes=200.0), 1)
    assert found.kept.tolist() == [1, 2]


def test_a_step_that_saves_nothing_comes_last_cheapest_first():
    """Rows of 4 channels cost the same until the fourth is gone: the first steps of B and C save nothing. A saves a
    little and goes first although it loses 9; then C, the cheaper one, down to the next row."""

    def cost(kept: np.ndarray) -> np.ndarray:
        return kept[0] + 10.0 * np.ceil(kept[1] / 4) + 10.0 * np.ceil(kept[2] / 4)

    scores = floats([9, 9], [2] * 8, [1] * 8)
    full = float(cost(np.array([2, 8, 8])))
    found = greedy(scores, {"latency_ms": cost}, Limits(latency_ms=full - 1), 1)
    assert found.kept.tolist() == [1, 8, 8]
    # 10 less are needed: A's unit first, then four of C; they save enough alone, so A gets its unit back
    found = greedy(scores, {"latency_ms": cost}, Limits(latency_ms=full - 10), 1)
    assert found.kept.tolist() == [2, 8, 4]


def test_steps_made_needless_are_given_back():
    """10 of 33 ms must go. A saves 1 for a loss of 1 (10 per share of the excess), B saves 10 for 20: A first. Then
    A asks 3 for 1/9, B 20 for all: B. It saves enough alone, and A's unit returns."""
    costs = linear(latency_ms=[1.0, 10.0])
    found = greedy(floats([1, 3, 9], [20, 99, 99]), costs, Limits(latency_ms=23.0), 1)
    assert found.kept.tolist() == [3, 2]


def test_of_two_returnable_steps_the_more_important_returns():
    """A and B save 1 each for 1 and 1.5, C 10 for 50. 11 of 36 are to save; C alone saves 10, so one of A and B stays
    cut: the less important A."""
    costs = linear(latency_ms=[1.0, 1.0, 10.0])
    found = greedy(floats([1, 99, 99], [1.5, 99, 99], [50, 99, 99]), costs, Limits(latency_ms=25.0), 1)
    assert found.kept.tolist() == [2, 3, 2]


def test_of_two_equal_steps_the_first_group_gets_its_unit_back():
    """As above with equal losses: A and B are cut, then C; one of them may return."""
    costs = linear(latency_ms=[1.0, 1.0, 10.0])
    found = greedy(floats([1, 99, 99], [1, 99, 99], [50, 99, 99]), costs, Limits(latency_ms=25.0), 1)
    assert found.kept.tolist() == [3, 2, 2]


def test_counts_are_multiples_and_small_groups_stay():
    """20 -> 16 -> 8 in multiples of 8; 6 and 8 can't shrink."""
    costs = linear(latency_ms=[1.0, 1.0, 1.0])
    scores = floats([1] * 20, [0.1] * 6, [0.1] * 8)
    for limit, kept in ((33.0, [16, 6, 8]), (29.0, [8, 6, 8]), (22.0, [8, 6, 8])):
        found = greedy(scores, costs, Limits(latency_ms=limit), 8)
        assert (found.kept.tolist(), found.missed) == (kept, ())


def test_limits_out_of_reach_are_named():
    costs = linear(latency_ms=[1.0], size_bytes=[1.0], ram_bytes=[1.0])
    found = greedy(floats([1] * 32), costs, Limits(latency_ms=7.0, size_bytes=8.0, ram_bytes=5.0), 8)
    assert found.kept.tolist() == [8]
    assert found.costs == {"latency_ms": 8.0, "size_bytes": 8.0, "ram_bytes": 8.0}
    assert found.missed == ("latency_ms", "ram_bytes")


def test_met_limits_and_no_limits_change_nothing():
    costs = linear(latency_ms=[1.0])
    for limits in (Limits(), Limits(latency_ms=20.0)):
        found = greedy(floats([0.0] * 20), costs, limits, 8)
        assert (found.kept.tolist(), found.costs, found.missed) == ([20], {"latency_ms": 20.0}, ())


def test_a_model_without_groups():
    costs = {"latency_ms": lambda kept: np.full(kept.shape[1:], 3.0)}
    found = greedy((), costs, Limits(latency_ms=1.0), 8)
    assert (found.kept.tolist(), found.missed) == ([], ("latency_ms",))


def test_equal_steps_go_by_group_order():
    costs = linear(latency_ms=[1.0, 1.0, 1.0])
    found = greedy(floats([1, 1], [1, 1], [1, 1]), costs, Limits(latency_ms=4.0), 1)
    assert found.kept.tolist() == [1, 1, 2]


def test_scores_may_come_in_any_order_and_below_zero():
    """A unit whose removal helps counts as free, not as a gain that pays for others."""
    costs = linear(latency_ms=[1.0, 1.0])
    found = greedy(floats([9, -50, 8], [0.5, 7, 7]), costs, Limits(latency_ms=4.0), 1)
    assert found.kept.tolist() == [2, 2]


def test_start_continues_from_a_plan():
    """From (2, 3) units 1 ms must go; lost is what the next unit of each group adds: 2 and 1."""
    costs = linear(latency_ms=[1.0, 1.0])
    start = np.array([2, 3])
    found = greedy(floats([1, 2, 9], [1, 9, 9]), costs, Limits(latency_ms=4.0), 1, start=start)
    assert found.kept.tolist() == [2, 2]
    assert start.tolist() == [2, 3]  # not written to


def test_next_step_by_hand():
    assert next_step(np.array([20, 16, 8, 5, 1]), 8).tolist() == [16, 8, 8, 5, 1]
    assert next_step(np.array([3, 2, 1]), 1).tolist() == [2, 1, 1]


def table_costs(units: list[int], seed: int) -> Costs:
    """Costs without any order: a random number for every plan."""
    rng = np.random.default_rng(seed)
    tables = {name: rng.random([count + 1 for count in units]) for name in ("latency_ms", "size_bytes")}
    return {name: (lambda kept, t=table: t[tuple(kept)]) for name, table in tables.items()}


PLANS = st.tuples(
    st.lists(st.integers(1, 9), min_size=1, max_size=4), st.sampled_from([1, 2, 4]), st.integers(0, 10**6)
)


@given(PLANS, st.floats(0.05, 0.9))
def test_limits_that_the_smallest_plan_meets_are_met_on_any_costs(plan, limit):
    units, multiple, seed = plan
    costs = table_costs(units, seed)
    smallest = np.minimum(units, multiple)
    limits = Limits(latency_ms=limit, size_bytes=limit)
    scores = tuple(np.random.default_rng(seed).random(count) for count in units)
    found = greedy(scores, costs, limits, multiple)
    assert all(count == own or count % multiple == 0 for count, own in zip(found.kept, units, strict=True))
    assert (found.kept >= smallest).all()
    assert found.missed == tuple(name for name, value in limits.items() if found.costs[name] > value)
    assert found.costs == {name: float(cost(found.kept)) for name, cost in costs.items()}
    if all(float(cost(smallest)) <= limit for cost in costs.values()):
        assert found.missed == ()


def steps_by_loops(scores: tuple[np.ndarray, ...], cost_of, limits: Limits, multiple: int) -> list[list[int]]:
    """All plans that greedy passes, one candidate at a time. cost_of: plan -> cost by name."""
    kept = [len(own) for own in scores]
    passed = [list(kept)]
    while True:
        now = cost_of(kept)
        unmet = [(name, limit) for name, limit in limits.items() if now[name] > limit]
        best, best_key = None, None
        for group, count in enumerate(kept):
            smaller = (count - 1) // multiple * multiple
            if not unmet or smaller < 1:
                continue
            candidate = kept[:group] + [smaller] + kept[group + 1 :]
            after = cost_of(candidate)
            saved = sum(min((now[name] - after[name]) / (now[name] - limit), 1.0) for name, limit in unmet)
            price = lost(scores[group], smaller) - lost(scores[group], count)
            key = (price / saved if saved > 1e-12 else math.inf, price)
            if best_key is None or key < best_key:
                best, best_key = candidate, key
        if best is None:
            return passed
        kept = best
        passed.append(list(kept))


def lost(own: np.ndarray, count: int) -> float:
    return float(sum(sorted(own)[: len(own) - count]))


def give_back_by_loops(passed: list[list[int]], scores: tuple[np.ndarray, ...], fits) -> list[int]:
    """Undo each group's steps from the last on, always the group whose undo returns most, until one breaks a limit."""
    kept = list(passed[-1])
    open_groups = set(range(len(kept)))
    while True:
        undos = []
        for group in sorted(open_groups):
            earlier = [plan[group] for plan in passed if plan[group] > kept[group]]
            if earlier:
                gain = lost(scores[group], kept[group]) - lost(scores[group], min(earlier))
                undos.append((-gain, group, min(earlier)))
        if not undos:
            return kept
        _, group, count = min(undos)
        trial = kept[:group] + [count] + kept[group + 1 :]
        if fits(trial):
            kept = trial
        else:
            open_groups.discard(group)


@settings(deadline=None, max_examples=80)
@given(
    seed=st.integers(0, 10**6),
    multiple=st.sampled_from([1, 2, 8]),
    mode=st.sampled_from(["none", "int8"]),
    share=st.floats(0.0, 1.0),
    ram=st.booleans(),
)
def test_the_result_is_that_of_plain_loops(seed, multiple, mode, share, ram):
    """Network costs in exact arithmetic and whole-numbered scores, so that ties are ties."""
    network = random_network(seed)
    model = CostModel(network, EXACT_RATES, mode, multiple)
    rng = np.random.default_rng(seed)
    scores = tuple(rng.integers(0, 6, group.units).astype(float) for group in network.groups)

    def cost_of(plan: list[int]) -> dict[str, float]:
        kept = np.array(plan)
        return {
            "latency_ms": sum(by_loops.latency_ms(network, EXACT_RATES, mode, multiple, kept)),
            "size_bytes": by_loops.size_bytes(network, mode, kept),
            "ram_bytes": by_loops.ram_bytes(network, mode, kept),
        }

    full = cost_of(network.full.tolist())
    smallest = cost_of(np.minimum(network.full, multiple).tolist())
    mixed = {name: round(smallest[name] + share * (full[name] - smallest[name]), 3) for name in full}
    limits = Limits(mixed["latency_ms"], mixed["size_bytes"], mixed["ram_bytes"] if ram else None)

    def fits(plan: list[int]) -> bool:
        costs = cost_of(plan)
        return all(costs[name] <= limit for name, limit in limits.items())

    passed = steps_by_loops(scores, cost_of, limits, multiple)
    expected = give_back_by_loops(passed, scores, fits) if fits(passed[-1]) else passed[-1]
    found: Allocation = greedy(scores, PlanCosts(model).functions, limits, multiple)
    assert found.kept.tolist() == expected
    assert found.costs == cost_of(expected)
    # giving back raises counts, hence importance, and breaks no limit
    assert (found.kept >= np.array(passed[-1])).all()
    assert found.missed == tuple(name for name, limit in limits.items() if cost_of(expected)[name] > limit)


def test_costs_without_a_short_way_are_asked_for_whole_plans():
    seen = []

    def cost(kept: np.ndarray) -> np.ndarray:
        seen.append(kept.tolist())
        return kept.sum(axis=0)

    changes = Changes(np.array([5, 7]), np.array([1, 0, 1]), np.array([6, 2, 9]))
    assert changed_costs(cost, changes).tolist() == [11, 9, 14]
    assert seen == [[[5, 2, 5], [6, 7, 9]]]


def large_network(groups: int) -> Network:
    """Per group a convolution that reads two earlier groups, a depthwise convolution and a ReLU that moves bytes."""
    rng = np.random.default_rng(0)
    records = tuple(GroupRecord(f"g{g}", 8 * int(rng.integers(2, 17)), (f"g{g}",)) for g in range(groups))
    units = np.eye(groups + 1, groups, k=-1, dtype=np.int64)
    weights, ops, tensors = [], [], [TensorRecord(Extent(147), 0, 3 * groups - 1)]
    for g in range(groups):
        source = 3 * max(g - int(rng.integers(1, 3)) + 1, 0)
        incoming = source // 3
        weights += [WeightRecord(f"c{g}", "kernel", Extent(9, (incoming, g + 1)))]
        weights += [WeightRecord(f"d{g}", "kernel", Extent(9, (g + 1,)))]
        made = len(tensors)
        ops += [
            OpRecord(f"c{g}", "conv", Extent(441, (incoming, g + 1)), (source,), (made,), (2 * g,), g + 1),
            OpRecord(f"d{g}", "depthwise", Extent(441, (g + 1,)), (made,), (made + 1,), (2 * g + 1,), g + 1),
            OpRecord(f"r{g}", "copy", Extent(0), (made + 1,), (made + 2,), (), 0),
        ]
        tensors += [TensorRecord(Extent(49, (g + 1,)), 3 * g + k, min(3 * g + k + 1, 3 * groups - 1)) for k in (0, 1)]
        tensors += [TensorRecord(Extent(49, (g + 1,)), 3 * g + 2, min(3 * g + 7, 3 * groups - 1))]
    return Network(records, np.array([1] + [0] * groups), units, tuple(ops), tuple(tensors), tuple(weights))


def test_a_thousand_operations_in_three_hundred_groups_take_seconds():
    """The size of NASNet: under 2 s on a free machine, ten times that as it was; 12 s leave room for a busy one."""
    network = large_network(320)
    costs = PlanCosts(CostModel(network, RATES, "none", 8)).functions
    scores = tuple(np.random.default_rng(1).random(group.units) for group in network.groups)
    full = {name: float(cost(network.full)) for name, cost in costs.items()}
    limits = Limits(full["latency_ms"] * 0.5, full["size_bytes"] * 0.4, full["ram_bytes"] * 0.4)
    start = time.perf_counter()
    found = greedy(scores, costs, limits, 8)
    assert time.perf_counter() - start < 12
    assert found.missed == ()
