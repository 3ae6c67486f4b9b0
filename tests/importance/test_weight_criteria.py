"""L2, geometric median and BatchNorm scale on kernels small enough to work out by hand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from edgeprune.errors import InputError
from edgeprune.importance import bn_scale, fpgm, l2
from edgeprune.records.importance import UnitWeight

pytestmark = pytest.mark.unit


@dataclass
class Variable:
    """Stands for a Keras variable: an array with a name."""

    values: np.ndarray
    name: str = "kernel"

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.values, dtype=dtype)


def weight(values, axis: int, units: list[int], role: str = "kernel", name: str = "kernel") -> UnitWeight:
    return UnitWeight("layer", Variable(np.array(values, dtype=np.float32), name), role, axis, np.array(units))


# Two input channels, three output channels: filters (3, 4), (0, 0) and (-3, -4).
KERNEL = [[3.0, 0.0, -3.0], [4.0, 0.0, -4.0]]


def test_l2_is_the_norm_of_the_filter():
    assert l2.score([weight(KERNEL, 1, [0, 1, 2])], 3).tolist() == [5.0, 0.0, 5.0]


def test_l2_sums_squares_over_all_kernels_of_a_unit():
    # sqrt(3^2 + 4^2 + 12^2) = 13
    scores = l2.score([weight(KERNEL, 1, [0, 1, 2]), weight([[12.0, 0.0, 0.0]], 1, [0, 1, 2])], 3)
    assert scores.tolist() == [13.0, 0.0, 5.0]


def test_geometric_median_finds_the_filter_amid_the_others():
    # Distances: 5 between neighbours, 10 between the outer two.
    assert fpgm.score([weight(KERNEL, 1, [0, 1, 2])], 3).tolist() == [15.0, 10.0, 15.0]


def test_geometric_median_ignores_magnitude():
    """A constant added to all filters changes no distance."""
    shifted = (np.array(KERNEL) + 100.0).tolist()
    assert np.allclose(fpgm.score([weight(shifted, 1, [0, 1, 2])], 3), [15.0, 10.0, 15.0])


def test_batchnorm_scale_reads_gamma_only():
    gamma = weight([0.5, -2.0, 0.0], 0, [0, 1, 2], "norm", "gamma")
    beta = weight([9.0, 9.0, 9.0], 0, [0, 1, 2], "norm", "beta")
    assert bn_scale.score([weight(KERNEL, 1, [0, 1, 2]), gamma, beta], 3).tolist() == [0.5, 2.0, 0.0]


def test_units_without_batchnorm_fall_back_to_l1():
    gamma = weight([0.5, 2.0], 0, [0, 1], "norm", "gamma")
    scores = bn_scale.score([weight(KERNEL, 1, [0, 1, 2]), gamma], 3)
    assert scores.tolist() == [0.5, 2.0, 7.0]


def test_batchnorm_scale_needs_a_batchnorm():
    with pytest.raises(InputError, match="BatchNormalization layers with scale=True"):
        bn_scale.score([weight(KERNEL, 1, [0, 1, 2])], 3)
