"""Hand-written attention with one projection for q, k and v, transposed so that the batch leaves axis 0 meanwhile."""

from __future__ import annotations

import pytest
from graph_oracle import check, group_sizes

from edgeprune.pipeline.analysis import analyse

pytestmark = pytest.mark.keras


def fused_qkv(read_elsewhere: bool = False):
    """6 steps of width 16, 4 heads of 4: Dense(48) -> (6, 3, 4, 4) -> transpose (2, 0, 3, 1, 4) -> qkv[0], [1], [2]."""
    import keras
    from keras import layers, ops

    inputs = keras.Input((6, 16))
    qkv = layers.Dense(48, name="qkv")(layers.LayerNormalization()(inputs))
    qkv = ops.transpose(ops.reshape(qkv, (-1, 6, 3, 4, 4)), (2, 0, 3, 1, 4))
    q, k, v = qkv[0], qkv[1], qkv[2]
    scores = ops.softmax(ops.matmul(q, ops.transpose(k, (0, 1, 3, 2))) * 0.5)
    mixed = ops.reshape(ops.transpose(ops.matmul(scores, v), (0, 2, 1, 3)), (-1, 6, 16))
    x = inputs + layers.Dense(16, name="project")(mixed)
    outputs = [layers.Dense(3, name="head")(layers.GlobalAveragePooling1D()(x))]
    if read_elsewhere:
        outputs.append(ops.transpose(qkv, (1, 0, 2, 3, 4)))
    return keras.Model(inputs, outputs)


def test_whole_heads_go():
    sizes = group_sizes(fused_qkv())
    assert sizes["qkv"] == 4


def test_the_smaller_model_is_the_masked_one():
    check(fused_qkv(), ratio=0.5)


def test_what_else_reads_the_moved_batch_freezes_it():
    """Only x[i] may see a tensor whose first axis is not the batch."""
    analysis = analyse(fused_qkv(read_elsewhere=True))
    assert "qkv" not in analysis.groups.names
    assert any(row.reason == "moves the batch axis" for row in analysis.frozen())
