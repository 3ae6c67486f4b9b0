"""Layers read from files, and their grid."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgeprune.cost.file_layers import channel_grid, layers_of
from edgeprune.cost.one_op import OPERATIONS, LayerShape, one_op_model
from edgeprune.tflite.flatbuffer import parse_model

pytestmark = pytest.mark.unit

CONV = LayerShape("CONV_2D", 9, 7, 3, 20, (3, 5), (2, 1), same=False)


def layer(op: str) -> LayerShape:
    """A layer of the kind with every field set that the kind has."""
    if op == "CONV_2D":
        return CONV
    if op == "FULLY_CONNECTED":
        return LayerShape(op, 1, 1, 6, 10)
    pools = op in ("DEPTHWISE_CONV_2D", "AVERAGE_POOL_2D", "MAX_POOL_2D")
    plain = LayerShape(op, 9, 7, 12, 12)
    return replace(plain, kernel=(3, 3), stride=(2, 2)) if pools else plain


@pytest.mark.parametrize("op", OPERATIONS)
@pytest.mark.parametrize("precision", ["none", "int8"])
def test_a_layer_comes_back_from_its_file(op: str, precision: str) -> None:
    content = one_op_model(layer(op), precision)  # type: ignore[arg-type]
    assert layers_of(parse_model(content, "one.tflite")) == {(layer(op), precision): 1}


def test_the_grid_by_hand() -> None:
    """20 outputs in multiples of 8: 5, 10, 15 and 20 become 8, 16, 16 and 20; the 3 inputs of an image stay."""
    assert [(one.inputs, one.outputs) for one in channel_grid([CONV], 8)] == [(3, 8), (3, 16), (3, 20)]


def test_the_grid_of_a_depthwise_layer_moves_both_counts() -> None:
    deep = LayerShape("DEPTHWISE_CONV_2D", 5, 5, 32, 32, (3, 3))
    assert [(one.inputs, one.outputs) for one in channel_grid([deep], 8)] == [(8, 8), (16, 16), (24, 24), (32, 32)]
