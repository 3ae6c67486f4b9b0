"""Label layouts and kinds, worked out by hand."""

import numpy as np
import pytest

from edgeprune.data.labels import class_numbers, conform, kind_of, layout_of
from edgeprune.data.signature import Port

pytestmark = pytest.mark.unit

WIDE = Port("o", (3,), "float32", "softmax")
ONE = Port("o", (1,), "float32", "sigmoid")
PIXELS = Port("o", (2, 2, 3), "float32", "softmax")


@pytest.mark.parametrize(
    ("raw", "port", "expected"),
    [
        (np.array([2, 0], np.uint8), WIDE, np.array([2, 0], np.int32)),
        (np.array([[2.0], [0.0]]), WIDE, np.array([2, 0], np.int32)),
        (np.array([[0, 0, 1]]), WIDE, np.array([[0, 0, 1]], np.float32)),
        (np.array([True, False]), ONE, np.array([[1], [0]], np.float32)),
        (np.array([[1], [0]]), ONE, np.array([[1], [0]], np.float32)),
        (np.ones((1, 2, 2), int), PIXELS, np.ones((1, 2, 2), np.int32)),
        (np.ones((1, 2, 2, 1), int), PIXELS, np.ones((1, 2, 2), np.int32)),
    ],
)
def test_every_layout_comes_out_in_one_form(raw, port, expected):
    layout = layout_of(raw.shape[1:], port)
    assert layout is not None
    got = conform(raw, layout)
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(("shape", "port"), [((4,), WIDE), ((3, 3), WIDE), ((2,), ONE), ((3,), PIXELS)])
def test_shapes_that_would_be_broadcast_have_no_layout(shape, port):
    assert layout_of(shape, port) is None


@pytest.mark.parametrize(
    ("labels", "port", "kind"),
    [
        (np.array([0, 2]), WIDE, "classes"),
        (np.eye(3), WIDE, "one_hot"),
        (np.array([[1, 1, 0], [0, 0, 0]]), WIDE, "multi_label"),
        (np.array([[0.2, 0.3, 0.5]]), WIDE, "distribution"),
        (np.array([[0.2, 0.3, 0.5]]), Port("o", (3,), "float32", "linear"), "targets"),
        (np.array([[0], [1]]), ONE, "binary"),
        (np.array([[0.5], [1]]), ONE, "targets"),
    ],
)
def test_kind(labels, port, kind):
    assert kind_of(labels, port) == kind


def test_class_numbers_for_balance():
    np.testing.assert_array_equal(class_numbers(np.array([2, 0]), WIDE), [2, 0])
    np.testing.assert_array_equal(class_numbers(np.eye(3)[[1, 2]], WIDE), [1, 2])
    np.testing.assert_array_equal(class_numbers(np.array([[1.0], [0.0]]), ONE), [1, 0])
    assert class_numbers(np.array([[0.5], [0.1]]), ONE) is None
    assert class_numbers(np.ones((1, 2, 2), int), PIXELS) is None
