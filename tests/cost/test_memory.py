"""Peak RAM of files, by hand."""

from __future__ import annotations

import pytest

from edgeprune.cost.memory import RamPrediction, predict_ram
from edgeprune.cost.one_op import LayerShape, one_op_model
from edgeprune.target import load_target
from edgeprune.tflite.flatbuffer import parse_model
from tests.tflite.sparse_corpus import CASES

pytestmark = pytest.mark.unit

CONV = LayerShape("CONV_2D", 8, 8, 64, 128)


def predicted(precision: str) -> tuple[RamPrediction, int]:
    content = one_op_model(CONV, precision)  # type: ignore[arg-type]
    return predict_ram(parse_model(content, "layer.tflite"), load_target("rpi4")), len(content)


@pytest.mark.parametrize(
    ("precision", "width", "packed", "unpacked"),
    [("none", 4, 4, 0), ("float16", 4, 4, 4), ("int8", 1, 1, 0), ("dynamic", 4, 1, 0)],
)
def test_the_parts_by_hand(precision: str, width: int, packed: int, unpacked: int) -> None:
    """Input and output live together; 64 x 128 weights are packed, float16 ones also expanded."""
    found, size = predicted(precision)
    assert found.arena == 8 * 8 * (64 + 128) * width
    assert found.file == size
    assert found.packed == 64 * 128 * packed
    assert found.unpacked == 64 * 128 * unpacked
    assert found.total == found.arena + found.file + found.packed + found.unpacked + found.runtime


def test_sparse_kernels_keep_a_value_and_a_place_of_each_nonzero_weight() -> None:
    """Of 80 % zeros 8 bytes per weight that is left are less than 4 per weight."""
    sparse, dense = (
        predict_ram(parse_model(CASES["zeros_80"](encoded), "net.tflite"), load_target("rpi4"))
        for encoded in (True, False)
    )
    assert sparse.packed < dense.packed
    assert sparse.unpacked > dense.unpacked == 0
