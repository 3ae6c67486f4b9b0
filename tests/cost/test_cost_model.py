"""Latency, file size and RAM of small networks: by hand, by plain loops, and one plan against many."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeprune.cost.change import Changes
from edgeprune.cost.model import Corrections, CostModel
from edgeprune.records.network import Extent, GroupRecord, Network, OpRecord, TensorRecord, WeightRecord
from edgeprune.target import load_target
from tests.cost import small_networks as by_loops
from tests.cost.small_networks import BYTES, EXACT_RATES, RATES, mobile_block, random_network, random_plan

pytestmark = pytest.mark.unit

FULL = np.array([16, 12])
MODES = list(BYTES)


def test_latency_by_hand():
    """Each operation: 3 us, MACs per nanosecond as in RATES, and 2 ns per byte moved (inputs, outputs, kernel)."""
    us = [
        3.0 + 6912 / 1000 + 2 * 4 * (16 * 3 + 16 * 16 + 9 * 3 * 16) / 1000,
        0.0,  # folded into the convolution
        3.0 + 2304 / 2000 + 2 * 4 * (16 * 16 + 16 * 16 + 9 * 16) / 1000,
        3.0 + 3072 / 1000 + 2 * 4 * (16 * 16 + 16 * 12 + 16 * 12) / 1000,
        3.0 + 2 * 4 * (16 * 12 + 12) / 1000,
        3.0 + 120 / 4000 + 2 * 4 * (12 + 10 + 12 * 10) / 1000,
    ]
    model = CostModel(mobile_block(), RATES, "none")
    np.testing.assert_allclose(model.op_latency_ms(FULL), np.array(us) / 1000, rtol=1e-12)
    assert float(model.latency_ms(FULL)) == pytest.approx(sum(us) / 1000)


def test_removing_less_than_a_tile_saves_no_work():
    """With tiles of 8, 12 channels cost the MACs of 16; 9 cost those of 16 too, 8 those of 8. Bytes are not rounded."""
    model = CostModel(mobile_block(), RATES, "none", channel_multiple=8)

    def project_us(b: int) -> float:
        return 1000 * float(model.op_latency_ms(np.array([16, b]))[3])

    for b, tiled in ((12, 16), (9, 16), (8, 8), (1, 8)):
        moved = 4 * (16 * 16 + 16 * b + 16 * b)
        assert project_us(b) == pytest.approx(3.0 + 16 * 16 * tiled / 1000 + 2 * moved / 1000)


def test_input_channels_are_not_rounded():
    model = CostModel(mobile_block(), RATES, "none", channel_multiple=8)
    macs_us = 1000 * (model.op_latency_ms(np.array([16, 8])) - model.op_latency_ms(np.array([15, 8])))
    # one input channel less: 16 positions x 8 outputs of MACs, and 16 + 8 elements that are not moved
    assert macs_us[3] == pytest.approx(16 * 8 / 1000 + 2 * 4 * (16 + 8) / 1000)


def test_an_operation_without_channels_is_not_rounded():
    """A layer without a rule has no output axis: its MACs count once, not eight times."""
    op = OpRecord("custom", "conv", Extent(1000), (), (), (), 0)
    network = Network((), np.array([1]), np.zeros((1, 0), dtype=np.int64), (op,), (), ())
    model = CostModel(network, RATES, "none", channel_multiple=8)
    assert float(model.latency_ms(network.full)) == pytest.approx(0.003 + 1000 * 1e-6)
    assert model.op_latency_ms(network.full).tolist() == pytest.approx([0.003 + 1000 * 1e-6])


def test_size_by_hand_in_every_mode():
    """888 kernel elements and 54 channels with a bias; the folded BatchNorm leaves nothing."""
    kernels = 9 * 3 * 16 + 9 * 16 + 16 * 12 + 12 * 10
    channels = 16 + 16 + 12 + 10
    expected = {
        "none": 4 * kernels + 4 * channels,
        "float16": 2 * kernels + 2 * channels,
        "dynamic": kernels + (4 + 4 + 8) * channels,
        "int8": kernels + (4 + 4 + 8 + 4 + 8) * channels,
    }
    found = {mode: float(CostModel(mobile_block(), RATES, mode).size_bytes(FULL)) for mode in MODES}
    assert found == expected


def test_a_standing_batchnorm_leaves_a_scale_and_a_shift():
    """Four vectors of 6 in Keras; two in the file, of the activations' width."""
    op = OpRecord("norm", "copy", Extent(0), (), (), (0, 1, 2, 3), 0)
    weights = tuple(WeightRecord("norm", "norm", Extent(1, (1,))) for _ in range(4))
    network = Network((), np.array([1, 6]), np.zeros((2, 0), dtype=np.int64), (op,), (), weights)
    sizes = {mode: float(CostModel(network, RATES, mode).size_bytes(network.full)) for mode in MODES}
    assert sizes == {"none": 48.0, "float16": 48.0, "dynamic": 48.0, "int8": 12.0}


def test_ram_by_hand():
    """Kernels, the image and the scores throughout, and the largest pair of neighbours: 16 x 16 + 16 x 16 elements."""
    kernels = 9 * 3 * 16 + 9 * 16 + 16 * 12 + 12 * 10
    elements = 16 * 3 + 10 + 16 * 16 + 16 * 16
    ram = {mode: float(CostModel(mobile_block(), RATES, mode).ram_bytes(FULL)) for mode in MODES}
    assert ram == {
        "none": 4 * kernels + 4 * elements,
        "float16": 4 * kernels + 4 * elements,  # expanded when loaded
        "dynamic": kernels + 4 * elements,
        "int8": kernels + elements,
    }


def test_a_latency_factor_scales_every_latency():
    plain, twice = (CostModel(mobile_block(), RATES, "none", 1, Corrections(latency_factor=f)) for f in (1.0, 2.0))
    changes = Changes(FULL, np.array([0, 1]), np.array([8, 8]))
    for scaled, own in (
        (twice.latency_ms(FULL), plain.latency_ms(FULL)),
        (twice.op_latency_ms(FULL), plain.op_latency_ms(FULL)),
        (twice.changed_latency_ms(changes), plain.changed_latency_ms(changes)),
    ):
        np.testing.assert_allclose(scaled, 2 * own, rtol=1e-12)
        assert np.all(own >= 0)
        assert np.any(own > 0)


def test_corrections_are_added():
    network = mobile_block()
    plain = CostModel(network, RATES, "int8")
    corrected = CostModel(network, RATES, "int8", corrections=Corrections(size_bytes=1234, ram_bytes=-56))
    assert float(corrected.size_bytes(FULL) - plain.size_bytes(FULL)) == 1234
    assert float(corrected.ram_bytes(FULL) - plain.ram_bytes(FULL)) == -56
    assert corrected.arena_ram_bytes(FULL) - plain.arena_ram_bytes(FULL) == -56
    assert float(corrected.latency_ms(FULL)) == float(plain.latency_ms(FULL))


@settings(deadline=None)
@given(seed=st.integers(0, 10**6), mode=st.sampled_from(MODES), multiple=st.sampled_from([1, 4, 8]))
def test_costs_are_those_of_plain_loops(seed, mode, multiple):
    network, plan = random_network(seed), random_plan(random_network(seed), seed)
    model = CostModel(network, EXACT_RATES, mode, multiple)
    ops = by_loops.latency_ms(network, EXACT_RATES, mode, multiple, plan)
    np.testing.assert_allclose(model.op_latency_ms(plan), ops, rtol=1e-12)
    assert float(model.latency_ms(plan)) == sum(ops)
    assert float(model.size_bytes(plan)) == by_loops.size_bytes(network, mode, plan)
    assert float(model.ram_bytes(plan)) == by_loops.ram_bytes(network, mode, plan)


@settings(deadline=None)
@given(seed=st.integers(0, 10**6), mode=st.sampled_from(MODES), multiple=st.sampled_from([1, 8]))
def test_many_plans_at_once_equal_one_by_one(seed, mode, multiple):
    network = random_network(seed)
    model = CostModel(network, RATES, mode, multiple)
    plans = np.stack([random_plan(network, seed + number) for number in range(7)], axis=1)
    for cost in (model.latency_ms, model.size_bytes, model.ram_bytes):
        together = cost(plans)
        assert together.shape == (7,)
        np.testing.assert_allclose(together, [float(cost(plan)) for plan in plans.T], rtol=1e-12)


@settings(deadline=None)
@given(seed=st.integers(0, 10**6), mode=st.sampled_from(MODES), multiple=st.sampled_from([1, 4, 8]))
def test_changed_plans_equal_whole_plans(seed, mode, multiple):
    """Groups that grow, shrink and stay, the same group several times; exact rates leave no rounding to hide behind."""
    network, base = random_network(seed), random_plan(random_network(seed), seed)
    model = CostModel(network, EXACT_RATES, mode, multiple)
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, len(base), size=6)
    counts = rng.integers(1, network.full[groups] + 1)
    changes = Changes(base, groups, counts)
    plans = np.repeat(base[:, None], 6, axis=1)
    plans[groups, np.arange(6)] = counts
    assert model.changed_latency_ms(changes).tolist() == model.latency_ms(plans).tolist()
    assert model.changed_size_bytes(changes).tolist() == model.size_bytes(plans).tolist()
    assert model.changed_ram_bytes(changes).tolist() == model.ram_bytes(plans).tolist()


@settings(deadline=None)
@given(
    seed=st.integers(0, 10**6), mode=st.sampled_from(MODES), board=st.sampled_from(["rpi3", "rpi4", "rpi5", "pixel8"])
)
def test_changed_plans_equal_whole_plans_with_a_boards_kernels(seed, mode, board):
    """Tiles of several sizes, of inputs and outputs, and narrow kernels."""
    network, base = random_network(seed), random_plan(random_network(seed), seed)
    model = CostModel(network, load_target(board).cost[mode], mode, 8)
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, len(base), size=6)
    counts = rng.integers(1, network.full[groups] + 1)
    plans = np.repeat(base[:, None], 6, axis=1)
    plans[groups, np.arange(6)] = counts
    whole = model.latency_ms(plans)
    np.testing.assert_allclose(model.changed_latency_ms(Changes(base, groups, counts)), whole, rtol=1e-9)
    np.testing.assert_allclose([model.op_latency_ms(plan).sum() for plan in plans.T], whole, rtol=1e-9)


@settings(deadline=None)
@given(seed=st.integers(0, 10**6), mode=st.sampled_from(MODES))
def test_the_ram_bound_is_below_what_placing_needs(seed, mode):
    network, plan = random_network(seed), random_plan(random_network(seed), seed)
    model = CostModel(network, RATES, mode)
    assert float(model.ram_bytes(plan)) <= model.arena_ram_bytes(plan)


def test_placing_can_need_more_than_the_bound():
    """Tensors of 60, 100 and 60 bytes in a chain: two are alive at once, 160 bytes. Placed by size: 100 at 0, both
    others behind it at the next multiple of 64, so 188."""
    tensors = tuple(TensorRecord(Extent(n), first, last) for n, first, last in ((60, 0, 0), (100, 0, 1), (60, 1, 1)))
    ops = tuple(OpRecord(name, "copy", Extent(0), (), (), (), 0) for name in "ab")
    network = Network((), np.array([1]), np.zeros((1, 0), dtype=np.int64), ops, tensors, ())
    model = CostModel(network, RATES, "int8")
    assert float(model.ram_bytes(network.full)) == 160
    assert model.arena_ram_bytes(network.full) == 128 + 60


def test_an_emptied_axis_costs_nothing():
    model = CostModel(mobile_block(), RATES, "none", channel_multiple=8)
    ops = model.op_latency_ms(np.array([16, 0]))
    assert np.isfinite(ops).all()
    assert ops[3] == pytest.approx(0.003 + 2e-6 * 4 * 16 * 16)


def chain(layers: int) -> Network:
    """A chain of `layers` convolutions, each with a group of its own."""
    groups = tuple(GroupRecord(f"g{g}", 64, (f"g{g}",)) for g in range(layers))
    units = np.eye(layers + 1, layers, k=-1, dtype=np.int64)
    weights = tuple(WeightRecord(f"g{g}", "kernel", Extent(9, (g, g + 1))) for g in range(layers))
    ops = tuple(
        OpRecord(f"g{g}", "conv", Extent(9 * 49, (g, g + 1)), (g,), (g + 1,), (g,), g + 1) for g in range(layers)
    )
    tensors = tuple(TensorRecord(Extent(49, (t,)), max(t - 1, 0), min(t, layers - 1)) for t in range(layers + 1))
    return Network(groups, np.array([1] + [0] * layers), units, ops, tensors, weights)


def test_predictions_are_fast():
    """300 layers: one plan well under 5 ms, 200 plans at once under 100 ms (both leave room for a busy machine)."""
    network = chain(300)
    model = CostModel(network, load_target("rpi4").cost["none"], "none", 8)
    plans = np.repeat(network.full[:, None], 200, axis=1)

    def best_ms(work) -> float:
        times = []
        for _ in range(7):
            start = time.perf_counter()
            work()
            times.append(time.perf_counter() - start)
        return 1000 * min(times)

    assert best_ms(lambda: model.latency_ms(network.full)) < 5
    assert best_ms(lambda: model.latency_ms(plans)) < 100
    assert best_ms(lambda: (model.size_bytes(plans), model.ram_bytes(plans))) < 100
