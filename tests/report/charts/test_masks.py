"""Mask pictures: the PNG holds every cell, strong where weights are kept."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from edgeprune.records.masks import MaskPicture
from edgeprune.report.charts.masks import MOST, Drawn, drawn

pytestmark = pytest.mark.unit


def picture(kept: np.ndarray, outputs: int = 64, inputs: int = 64) -> MaskPicture:
    return MaskPicture("layer/kernel", outputs, inputs, 0.8, kept)


def opacity(found: Drawn) -> np.ndarray:
    image = Image.open(io.BytesIO(base64.b64decode(found.uri.removeprefix("data:image/png;base64,"))))
    image.load()
    assert image.mode == "RGBA"
    return np.asarray(image)[..., 3]


def test_a_cell_is_as_strong_as_what_it_keeps():
    """Relative to the strongest: 0.5 is full, 0.1 a fifth of it."""
    (found,) = drawn([picture(np.array([[0.5, 0.1, 0.0], [0.25, 0.5, 0.0]]))])
    np.testing.assert_array_equal(opacity(found), [[255, 51, 0], [128, 255, 0]])
    assert found.strongest == 0.5


def test_a_kernel_of_zeros_is_blank():
    (found,) = drawn([picture(np.zeros((2, 2)))])
    assert not opacity(found).any()


@pytest.mark.parametrize("shape", [(1, 1), (64, 1), (3, 64), (64, 64)])
def test_sides_stay_within_bounds(shape):
    (found,) = drawn([picture(np.ones(shape))])
    assert opacity(found).shape == shape
    assert 24 <= found.width <= 176
    assert 24 <= found.height <= 176


def test_the_largest_kernels_are_drawn_in_their_order():
    pictures = [picture(np.ones((2, 2)), outputs=index % 5 + 1) for index in range(MOST + 6)]
    found = [one.picture for one in drawn(pictures)]
    dropped = [one for one in pictures if not any(one is kept for kept in found)]
    assert len(found) == MOST
    assert {one.outputs for one in dropped} == {1}
    assert [pictures.index(one) for one in found] == sorted(pictures.index(one) for one in found)
