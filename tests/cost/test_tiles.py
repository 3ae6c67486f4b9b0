"""The staircase of channel counts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeprune.cost.tiles import Tiles

pytestmark = pytest.mark.unit


def test_a_last_tile_costs_a_full_one() -> None:
    assert Tiles(8)(np.array([0, 1, 8, 9, 16])).tolist() == [0, 8, 8, 16, 16]


def test_narrow_kernels_make_two_channels_at_a_time() -> None:
    """4x8 and 4x2 kernels: 15 waste one channel either way and stay wide; 12, 9 and 7 go to the narrow one."""
    found = Tiles(8, narrow=1.5)(np.array([0, 2, 7, 8, 9, 12, 15, 16]))
    assert found.tolist() == [0, 3, 12, 8, 15, 18, 16, 16]


@given(st.integers(1, 4096), st.sampled_from([1, 4, 8, 16]))
def test_never_fewer_channels_than_asked_for(channels: int, columns: int) -> None:
    tiled = float(Tiles(columns)(np.array([channels]))[0])
    assert channels <= tiled < channels + columns
    assert tiled % columns == 0
