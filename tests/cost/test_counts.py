"""Extents, MACs and parameters against sums written out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from edgeprune.cost.counts import ExtentTable, total_macs, total_params
from edgeprune.records.network import Extent, GroupRecord, Network
from tests.cost.small_networks import mobile_block, random_network, random_plan, width

pytestmark = pytest.mark.unit


def test_macs_by_hand():
    """conv 16 positions x 9 x 3 x A, depthwise 16 x 9 x A, project 16 x A x B, classes B x 10."""
    network = mobile_block()
    assert total_macs(network, np.array([16, 12])) == 16 * 9 * 3 * 16 + 16 * 9 * 16 + 16 * 16 * 12 + 12 * 10
    assert total_macs(network, np.array([5, 7])) == 16 * 9 * 3 * 5 + 16 * 9 * 5 + 16 * 5 * 7 + 7 * 10


def test_params_by_hand():
    """Kernels, biases and the four vectors of the BatchNorm."""
    network = mobile_block()

    def by_hand(a: int, b: int) -> int:
        return 9 * 3 * a + a + 4 * a + 9 * a + a + a * b + b + b * 10 + 10

    assert total_params(network, np.array([16, 12])) == by_hand(16, 12)
    assert total_params(network, np.array([5, 7])) == by_hand(5, 7)


def test_widths_add_up_what_lies_on_an_axis():
    """A concatenation of 2 fixed channels, group 0 and three times group 1 (flattened positions)."""
    groups = (GroupRecord("a", 8, ("a",)), GroupRecord("b", 8, ("b",)))
    network = Network(groups, np.array([1, 2]), np.array([[0, 0], [1, 3]]), (), (), ())
    assert network.widths(np.array([4, 5])).tolist() == [1, 2 + 4 + 15]
    assert network.widths(np.array([[4, 1], [5, 8]])).tolist() == [[1, 1], [21, 2 + 1 + 24]]
    assert network.widths(np.array([4, 5])).dtype == np.int64


@pytest.mark.parametrize("seed", range(20))
def test_widths_are_those_of_plain_loops(seed):
    network = random_network(seed)
    plan = random_plan(network, seed)
    assert network.widths(plan).tolist() == [width(network, axis, plan) for axis in range(len(network.axis_fixed))]


def test_extents_of_any_depth_share_a_table():
    """Axis 0 is the constant 1; axes 1 and 2 are 3 and 5 long."""
    table = ExtentTable([Extent(7), Extent(2, (1,)), Extent(1, (1, 1, 2))])
    assert table.values(np.array([1, 3, 5])).tolist() == [7, 6, 45]
    assert table.values(np.array([[1, 1], [3, 1], [5, 2]])).tolist() == [[7, 7], [6, 2], [45, 2]]


def test_counts_beyond_32_bits_are_exact():
    table = ExtentTable([Extent(2**40 + 1, (1,))])
    assert table.values(np.array([1, 3])).tolist() == [3 * 2**40 + 3]


def test_nothing_to_count():
    assert ExtentTable([]).values(np.array([1, 2])).shape == (0,)
    empty = Network((), np.array([1]), np.zeros((1, 0), dtype=np.int64), (), (), ())
    assert total_macs(empty, empty.full) == 0
    assert total_params(empty, empty.full) == 0
