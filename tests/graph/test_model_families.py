"""Whole small models of the field: their groups, the oracle, and that what is left trains, saves and loads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from graph_oracle import check, frozen_reasons, group_sizes
from keras import layers, ops
from small_models import check_at_both_ratios, train_save_load

pytestmark = pytest.mark.keras


def hand_written_attention(x: Any, heads: int, dim: int) -> Any:
    steps, width = x.shape[1], x.shape[2]
    query, key, value = (
        ops.transpose(ops.reshape(layers.Dense(heads * dim)(x), (-1, steps, heads, dim)), (0, 2, 1, 3)) for _ in "qkv"
    )
    scores = ops.softmax(ops.matmul(query, ops.swapaxes(key, -1, -2)) * dim**-0.5, axis=-1)
    mixed = ops.reshape(ops.transpose(ops.matmul(scores, value), (0, 2, 1, 3)), (-1, steps, heads * dim))
    return layers.Dense(width)(mixed)


def encoder(attention: Callable[[Any], Any]) -> Any:
    """Pre-norm: x + attention(norm(x)), x + mlp(norm(x)), on word and constant place embeddings."""
    words = keras.Input((6,), dtype="int32")
    x = layers.Embedding(9, 16, name="stream")(words)
    x = x + np.sin(np.arange(96, dtype=np.float32).reshape(6, 16))
    x = x + attention(layers.LayerNormalization()(x))
    hidden = layers.Dense(20, activation="gelu", name="hidden")(layers.LayerNormalization()(x))
    x = layers.Dropout(0.1)(x + layers.Dense(16, name="narrow")(hidden))
    pooled = layers.GlobalAveragePooling1D()(layers.LayerNormalization()(x))
    return keras.Model(words, layers.Dense(3)(pooled))


def encoder_by_hand() -> Any:
    return encoder(lambda x: hand_written_attention(x, 4, 5))


def encoder_with_layer() -> Any:
    return encoder(lambda x: layers.MultiHeadAttention(4, 5, name="attention")(x, x))


def unet() -> Any:
    """Two levels; skips are concatenated, up-sampling by transposed convolution and by interpolation."""

    def double(x: Any, filters: int, name: str) -> Any:
        for number in (1, 2):
            x = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"{name}_{number}")(x)
            x = layers.ReLU()(layers.BatchNormalization()(x))
        return x

    image = keras.Input((8, 8, 3))
    first = double(image, 6, "down1")
    second = double(layers.MaxPooling2D()(first), 8, "down2")
    x = double(layers.MaxPooling2D()(second), 10, "middle")
    x = layers.Conv2DTranspose(8, 2, strides=2, name="up2")(x)
    x = double(layers.Concatenate()([x, second]), 8, "up2")
    x = layers.UpSampling2D(interpolation="bilinear")(x)
    x = double(layers.Concatenate()([x, first]), 6, "up1")
    return keras.Model(image, layers.Conv2D(2, 1, activation="sigmoid", name="mask")(x))


def shuffle_net() -> Any:
    """Two units of ShuffleNet V2: half of the channels pass, the other half is convolved, then halves are shuffled."""
    image = keras.Input((8, 8, 3))
    x = layers.ReLU()(layers.Conv2D(8, 3, padding="same", name="stem")(image))
    for unit in ("first", "second"):
        left, right = ops.split(x, 2, axis=-1)
        right = layers.ReLU()(layers.Conv2D(4, 1, name=f"{unit}_in")(right))
        right = layers.BatchNormalization()(layers.DepthwiseConv2D(3, padding="same")(right))
        right = layers.ReLU()(layers.Conv2D(4, 1, name=f"{unit}_out")(right))
        x = layers.Concatenate()([left, right])
        x = ops.transpose(ops.reshape(x, (-1, 8, 8, 2, 4)), (0, 1, 2, 4, 3))
        x = ops.reshape(x, (-1, 8, 8, 8))
    return keras.Model(image, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))


def super_resolution() -> Any:
    """ESPCN with a residual block: pixel shuffles by hand and by depth_to_space."""
    image = keras.Input((6, 6, 1))
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="stem")(image)
    inner = layers.Conv2D(6, 3, padding="same", activation="relu", name="inner")(x)
    x = x + layers.Conv2D(8, 3, padding="same", name="outer")(inner)
    x = layers.Conv2D(20, 3, padding="same", name="up1")(x)
    x = ops.transpose(ops.reshape(x, (-1, 6, 6, 2, 2, 5)), (0, 1, 3, 2, 4, 5))
    x = layers.PReLU(shared_axes=[1, 2])(ops.reshape(x, (-1, 12, 12, 5)))
    x = ops.relu(ops.depth_to_space(layers.Conv2D(12, 3, padding="same", name="up2")(x), 2))
    return keras.Model(image, layers.Conv2D(1, 3, padding="same", name="image")(x))


def mixer() -> Any:
    """MLP-Mixer: one MLP over the steps, one over the channels."""
    sequence = keras.Input((6, 5))
    x = layers.Dense(8, name="stream")(sequence)
    y = layers.Permute((2, 1))(layers.LayerNormalization()(x))
    y = layers.Dense(6, name="steps_out")(layers.Dense(9, activation="gelu", name="steps_in")(y))
    x = x + layers.Permute((2, 1))(y)
    y = layers.Dense(12, activation="gelu", name="mlp")(layers.LayerNormalization()(x))
    x = x + layers.Dense(8)(y)
    return keras.Model(sequence, layers.Dense(3)(layers.GlobalAveragePooling1D()(x)))


def decoder() -> Any:
    """A translation model: an encoder LSTM, a decoder LSTM on its states, and attention over the encoder's outputs."""
    source, target = keras.Input((6,), dtype="int32"), keras.Input((4,), dtype="int32")
    memory, h, c = layers.LSTM(8, return_sequences=True, return_state=True, name="encoder")(
        layers.Embedding(9, 7, name="source")(source)
    )
    x = layers.LSTM(8, return_sequences=True, name="decoder")(
        layers.Embedding(9, 5, name="target")(target), initial_state=[h, c]
    )
    context = layers.MultiHeadAttention(3, 4, name="attention")(x, memory)
    return keras.Model([source, target], layers.Dense(9)(layers.Concatenate()([x, context])))


# build -> sorted units of all groups
MODELS: dict[str, tuple[Callable[[], Any], list[int]]] = {
    "encoder by hand": (encoder_by_hand, [4, 16, 20]),  # heads, stream, hidden
    "encoder with a layer": (encoder_with_layer, [4, 16, 20]),
    "unet": (unet, [6, 6, 6, 6, 8, 8, 8, 8, 8, 10, 10]),
    "super-resolution": (super_resolution, [3, 5, 6, 8]),
    "mixer": (mixer, [8, 12]),  # the stream and its MLP; the MLP over the steps stays
    "decoder": (decoder, [3, 5, 7, 8, 8]),  # heads, target, source, states, attention's output
}


@pytest.mark.parametrize(("build", "units"), MODELS.values(), ids=MODELS)
def test_groups(build: Callable[[], Any], units: list[int]) -> None:
    assert sorted(group_sizes(build()).values()) == units
    assert frozen_reasons(build()) == {}


@pytest.mark.parametrize("build", [*(build for build, _ in MODELS.values()), shuffle_net])
def test_smaller_models(build: Callable[[], Any], tmp_path: Path) -> None:
    check_at_both_ratios(build)
    train_save_load(check(build()), tmp_path)


def test_shuffle_net_is_pruned_everywhere() -> None:
    sizes = group_sizes(shuffle_net())
    assert frozen_reasons(shuffle_net()) == {}
    assert {"first_in", "second_in"} <= set(sizes)
