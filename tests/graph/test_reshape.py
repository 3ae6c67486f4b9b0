"""Reshapes that split and merge the channels: which axis carries them is decided by what comes after."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from graph_oracle import check, frozen_reasons, group_sizes
from hypothesis import given
from hypothesis import strategies as st
from keras import layers, ops
from small_models import check_at_both_ratios, image_model, sequence_model, train_save_load

from edgeprune.graph.rules.reshape import Block, blocks

pytestmark = pytest.mark.keras


@pytest.mark.parametrize(
    ("shape", "target", "expected"),
    [
        ((None, 6, 12), (None, 6, 4, 3), [Block(0, 1, 0, 1), Block(1, 2, 1, 2), Block(2, 3, 2, 4)]),
        ((None, 4, 4, 8), (None, 16, 8), [Block(0, 1, 0, 1), Block(1, 3, 1, 2), Block(3, 4, 2, 3)]),
        ((None, None, 12), (None, None, 4, 3), [Block(0, 1, 0, 1), Block(1, 2, 1, 2), Block(2, 3, 2, 4)]),
        # the batch takes in the steps; the channels' block does not touch it
        ((None, 6, 8), (None, 8), [Block(0, 2, 0, 1), Block(2, 3, 1, 2)]),
        # a size that is not fixed becomes part of an axis: nothing can be told apart
        ((None, 8, None), (2, 8, None), [Block(0, 3, 0, 3)]),
        ((None, 5, 1, 8), (None, 5, 8), [Block(0, 1, 0, 1), Block(1, 3, 1, 2), Block(3, 4, 2, 3)]),
        ((None, 8), (None, 1, 8, 1), [Block(0, 1, 0, 2), Block(1, 2, 2, 4)]),
    ],
)
def test_blocks(shape: Any, target: Any, expected: list[Block]) -> None:
    assert blocks(shape, target) == expected


@given(st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=3), min_size=1, max_size=4), st.data())
def test_blocks_keep_products_and_order(factors: list[list[int]], data: st.DataObject) -> None:
    """Axes split in a known way: every block has the same product on both sides and blocks follow each other."""
    shape = [int(np.prod(parts)) if data.draw(st.booleans()) else None for parts in factors]
    source, target = [None], [None]
    for whole, parts in zip(shape, factors, strict=True):
        source += parts if whole is None else [whole]
        target += [int(np.prod(parts))] if whole is None else parts
    found = blocks(source, target)
    assert [block.start for block in found[1:]] == [block.stop for block in found[:-1]]
    assert (found[0].start, found[-1].stop, found[-1].target_stop) == (0, len(source), len(target))
    for block in found[1:]:
        inside, outside = source[block.start : block.stop], target[block.target_start : block.target_stop]
        assert np.prod(inside, dtype=int) == np.prod(outside, dtype=int)


def attention_by_hand(x: Any, softmax: Any = ops.softmax) -> Any:
    """Four heads of three: Dense "query", "key", "value", reshapes, two matmuls, Dense "out"."""

    def heads(name: str) -> Any:
        split = ops.reshape(layers.Dense(12, name=name)(x), (-1, 6, 4, 3))
        return ops.transpose(split, (0, 2, 1, 3))

    query, key, value = heads("query"), heads("key"), heads("value")
    scores = softmax(ops.matmul(query, ops.transpose(key, (0, 1, 3, 2))) / np.sqrt(3.0))
    mixed = ops.transpose(ops.matmul(scores, value), (0, 2, 1, 3))
    return layers.Dense(7, name="out")(ops.reshape(mixed, (-1, 6, 12)))


@pytest.mark.parametrize("softmax", [ops.softmax, layers.Softmax(), layers.Activation("softmax")])
def test_attention_by_hand_is_pruned_by_head(softmax: Any) -> None:
    model = sequence_model(lambda x: attention_by_hand(x, softmax))
    # query, key and value of a head are one unit
    assert sorted(group_sizes(model).values()) == [4, 7]
    assert frozen_reasons(model) == {}
    check(model)


def test_one_projection_for_query_key_and_value() -> None:
    def body(x: Any) -> Any:
        split = ops.transpose(ops.reshape(layers.Dense(36, name="qkv")(x), (-1, 6, 3, 4, 3)), (0, 3, 1, 2, 4))
        query, key, value = split[:, :, :, 0], split[:, :, :, 1], split[:, :, :, 2]
        scores = ops.softmax(ops.einsum("bhtd,bhsd->bhts", query, key))
        mixed = ops.einsum("bhts,bhsd->bthd", scores, value)
        return layers.Dense(7, name="out")(ops.reshape(mixed, (-1, 6, 12)))

    assert group_sizes(sequence_model(body)) == {"qkv": 4, "out": 7}
    check_at_both_ratios(lambda: sequence_model(body))


def channel_shuffle(x: Any, with_layers: bool) -> Any:
    """Eight channels in two groups of four, exchanged as ShuffleNet does."""
    if with_layers:
        x = layers.Permute((1, 2, 4, 3))(layers.Reshape((6, 6, 2, 4))(x))
        return layers.Reshape((6, 6, 8))(x)
    x = ops.transpose(ops.reshape(x, (-1, 6, 6, 2, 4)), (0, 1, 2, 4, 3))
    return ops.reshape(x, (-1, 6, 6, 8))


@pytest.mark.parametrize("with_layers", [False, True])
def test_channel_shuffle_unites_equal_places_of_the_groups(with_layers: bool) -> None:
    def build() -> Any:
        return image_model(lambda x: layers.DepthwiseConv2D(3, padding="same")(channel_shuffle(x, with_layers)))

    assert group_sizes(build()) == {"a": 4, "b": 5}
    check_at_both_ratios(build)


@pytest.mark.parametrize("as_operation", [False, True])
def test_pixel_shuffle_unites_what_lands_on_one_channel(as_operation: bool) -> None:
    def body(x: Any) -> Any:
        if as_operation:
            return ops.depth_to_space(x, 2)
        x = ops.transpose(ops.reshape(x, (-1, 6, 6, 2, 2, 2)), (0, 1, 3, 2, 4, 5))
        return layers.ReLU()(ops.reshape(x, (-1, 12, 12, 2)))

    assert group_sizes(image_model(body)) == {"a": 2, "b": 5}
    check_at_both_ratios(lambda: image_model(body))


def test_space_to_depth_repeats_channels() -> None:
    model = image_model(lambda x: ops.space_to_depth(x, 2))
    assert group_sizes(model) == {"a": 8, "b": 5}
    check(model)


def test_features_that_become_a_map_keep_its_channels(tmp_path: Path) -> None:
    """The generator of a GAN: Dense(4 * 4 * 8) -> Reshape((4, 4, 8)) -> transposed convolutions."""

    def build() -> Any:
        noise = keras.Input((5,))
        x = layers.ReLU()(layers.Reshape((4, 4, 8))(layers.Dense(128, name="dense")(noise)))
        x = layers.Conv2DTranspose(6, 3, strides=2, name="up")(x)
        return keras.Model(noise, layers.Conv2D(3, 3, name="image")(x))

    assert group_sizes(build()) == {"dense": 8, "up": 6}  # a channel of the map is 16 units of the Dense layer
    check_at_both_ratios(build)
    train_save_load(check(build()), tmp_path)


def test_features_that_become_steps_keep_the_channels_of_a_step() -> None:
    def build() -> Any:
        features = keras.Input((5,))
        steps = layers.Reshape((4, 6))(layers.Dense(24, name="dense")(features))
        return keras.Model(features, layers.Dense(3)(layers.Flatten()(layers.Dense(7, name="each")(steps))))

    assert group_sizes(build()) == {"dense": 6, "each": 7}
    check_at_both_ratios(build)


def test_splits_without_a_reason_keep_whole_rows() -> None:
    model = sequence_model(lambda x: layers.Reshape((6, 12))(layers.Reshape((6, 4, 3))(layers.Dense(12, name="d")(x))))
    assert group_sizes(model) == {"d": 4}
    check(model)


def test_windows_leave_the_channels_alone() -> None:
    def body(x: Any) -> Any:
        windows = ops.transpose(ops.reshape(x, (-1, 2, 3, 2, 3, 8)), (0, 1, 3, 2, 4, 5))
        windows = layers.Dense(6, name="inside")(ops.reshape(windows, (-1, 9, 8)))  # windows join the batch
        back = ops.transpose(ops.reshape(windows, (-1, 2, 2, 3, 3, 6)), (0, 1, 3, 2, 4, 5))
        return ops.reshape(back, (-1, 6, 6, 6))

    assert group_sizes(image_model(body)) == {"a": 8, "inside": 6, "b": 5}
    check_at_both_ratios(lambda: image_model(body))


def test_channels_that_join_the_batch_are_frozen_by_name() -> None:
    def body(x: Any) -> Any:
        alone = ops.reshape(ops.transpose(x, (0, 3, 1, 2)), (-1, 6, 6, 1))
        return ops.transpose(ops.reshape(alone, (-1, 8, 6, 6)), (0, 2, 3, 1))

    model = image_model(body)
    assert group_sizes(model) == {"b": 5}
    (reason,) = frozen_reasons(model).values()
    assert reason == "reshaping channels together with a size that is not fixed"
    check(model)
