"""Dropping residual blocks: which are found, and y = x + f(x) becomes y = x."""

from __future__ import annotations

import numpy as np
import pytest

from edgeprune.graph.blocks import drop_blocks, find_blocks
from edgeprune.graph.trace import trace

pytestmark = pytest.mark.keras


def residual(x, name: str):
    from keras import layers

    y = layers.Conv2D(8, 3, padding="same", name=f"{name}_conv")(x)
    y = layers.BatchNormalization(name=f"{name}_bn")(y)
    return layers.Add(name=f"{name}_add")([x, y])


def two_blocks():
    """stem -> block a -> block b -> Dense."""
    import keras

    inputs = keras.Input((6, 6, 3))
    x = keras.layers.Conv2D(8, 1, name="stem")(inputs)
    x = residual(residual(x, "a"), "b")
    return keras.Model(inputs, keras.layers.Dense(2, name="head")(keras.layers.Flatten()(x)))


def test_both_blocks_are_found_with_their_layers():
    found = find_blocks(two_blocks())
    assert [(block.name, block.layers) for block in found] == [
        ("a_add", ("a_conv", "a_bn")),
        ("b_add", ("b_conv", "b_bn")),
    ]


def test_a_dropped_block_returns_its_input():
    """The oracle: the branch's last weights (gamma and beta) zeroed in the whole model."""
    model = two_blocks()
    generator = np.random.default_rng(0)
    for variable in model.weights:
        variable.assign(generator.random(variable.shape) + 0.1)
    smaller = drop_blocks(model, trace(model), find_blocks(model)[:1])
    norm = model.get_layer("a_bn")
    norm.gamma.assign(np.zeros(8))
    norm.beta.assign(np.zeros(8))
    x = generator.random((3, 6, 6, 3)).astype("float32")
    assert np.allclose(smaller(x), model(x), rtol=1e-5)
    names = [layer.name for layer in smaller.layers]
    assert "a_conv" not in names
    assert "a_add" not in names
    assert "b_conv" in names


def test_all_blocks_may_go():
    model = two_blocks()
    smaller = drop_blocks(model, trace(model), find_blocks(model))
    assert [layer.name for layer in smaller.layers if layer.weights] == ["stem", "head"]
    assert smaller.output_shape == model.output_shape


def test_a_branch_that_something_else_reads_is_no_block():
    import keras

    inputs = keras.Input((6, 6, 8))
    y = keras.layers.Conv2D(8, 3, padding="same")(inputs)
    total = keras.layers.Add()([inputs, y])
    model = keras.Model(inputs, keras.layers.Concatenate()([total, y]))
    assert find_blocks(model) == ()


def test_a_projection_shortcut_is_no_block():
    """Both operands are made from x by layers: neither is the other's input."""
    import keras

    inputs = keras.Input((6, 6, 3))
    left = keras.layers.Conv2D(8, 1)(inputs)
    right = keras.layers.Conv2D(8, 3, padding="same")(inputs)
    assert find_blocks(keras.Model(inputs, keras.layers.Add()([left, right]))) == ()


def test_blocks_inside_a_nested_model_are_found_and_dropped():
    import keras

    inner_input = keras.Input((6, 6, 8))
    inner = keras.Model(inner_input, residual(inner_input, "a"), name="inner")
    inputs = keras.Input((6, 6, 8))
    model = keras.Model(inputs, keras.layers.Conv2D(2, 1)(inner(inputs)))
    (block,) = find_blocks(model)
    assert block.name == "inner/a_add"
    smaller = drop_blocks(model, trace(model), [block])
    assert [layer.name for layer in smaller.get_layer("inner").layers if layer.weights] == []


def test_resnet50_has_its_identity_blocks():
    """ResNet50 has 16 blocks; 4 of them (one per stage) have a projection shortcut."""
    import keras

    assert len(find_blocks(keras.applications.ResNet50(weights=None, input_shape=(32, 32, 3), include_top=False))) == 12
