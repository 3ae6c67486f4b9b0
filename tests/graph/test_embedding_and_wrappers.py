"""Embedding, and TimeDistributed around layers with rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from graph_oracle import check, frozen_reasons, group_sizes
from keras import layers
from small_models import check_at_both_ratios, sequence_model, train_save_load

pytestmark = pytest.mark.keras


def words_and_places() -> Any:
    """Word and place embeddings are added, so their dimensions are one group."""
    words, places = keras.Input((6,), dtype="int32"), keras.Input((6,), dtype="int32")
    x = layers.Add()([layers.Embedding(9, 8, name="words")(words), layers.Embedding(6, 8, name="places")(places)])
    return keras.Model([words, places], layers.Dense(3)(layers.GlobalAveragePooling1D()(x)))


def test_embedding_dimensions_are_channels() -> None:
    assert group_sizes(words_and_places()) == {"words": 8}
    assert frozen_reasons(words_and_places()) == {}
    check_at_both_ratios(words_and_places)


def test_the_vocabulary_stays(tmp_path: Path) -> None:
    pruned = check(words_and_places(), 0.5)
    assert tuple(pruned.smaller.get_layer("words").embeddings.shape) == (9, 4)
    train_save_load(pruned, tmp_path)


def test_embedding_with_lora_is_frozen() -> None:
    words = keras.Input((6,), dtype="int32")
    model = keras.Model(words, layers.Dense(3)(layers.Embedding(9, 8, lora_rank=2, name="words")(words)))
    assert group_sizes(model) == {}
    assert frozen_reasons(model) == {"words": "Embedding that is quantized or has LoRA weights"}


def test_time_distributed_dense() -> None:
    def build() -> Any:
        return sequence_model(
            lambda x: layers.TimeDistributed(layers.Dense(7), name="b")(
                layers.TimeDistributed(layers.Dense(8, activation="relu"), name="a")(x)
            )
        )

    assert group_sizes(build()) == {"a": 8, "b": 7}
    check_at_both_ratios(build)


def frames_model() -> Any:
    frames = keras.Input((4, 6, 6, 3))
    x = layers.TimeDistributed(layers.Conv2D(7, 3), name="conv")(frames)
    x = layers.TimeDistributed(layers.BatchNormalization(), name="norm")(x)
    x = layers.TimeDistributed(layers.MaxPooling2D(), name="pool")(x)
    x = layers.TimeDistributed(layers.Flatten(), name="flat")(x)
    return keras.Model(frames, layers.Dense(2)(layers.LSTM(6, name="over_time")(x)))


def test_time_distributed_convolutions_before_an_lstm(tmp_path: Path) -> None:
    assert group_sizes(frames_model()) == {"conv": 7, "over_time": 6}
    check_at_both_ratios(frames_model)
    train_save_load(check(frames_model()), tmp_path)


def test_time_distributed_lstm_over_an_inner_axis() -> None:
    """A word LSTM inside every sentence."""

    def build() -> Any:
        sentences = keras.Input((4, 6, 5))
        x = layers.TimeDistributed(layers.Dense(6), name="words")(sentences)
        x = layers.TimeDistributed(layers.LSTM(7), name="sentence")(x)
        return keras.Model(sentences, layers.Dense(3)(layers.GRU(8, name="text")(x)))

    assert group_sizes(build()) == {"words": 6, "sentence": 7, "text": 8}
    check_at_both_ratios(build)


def test_a_wrapped_layer_counts_once_per_step() -> None:
    pruned = check(frames_model())
    conv = next(op for op in pruned.network.ops if op.layer == "conv")
    # 4 frames, 4 x 4 positions of a valid 3 x 3 window, 3 input channels fixed, 7 filters
    widths = pruned.network.widths(pruned.network.full)[list(conv.macs.axes)]
    assert conv.macs.factor * np.prod(widths) == 4 * 16 * 9 * 3 * 7


def test_shared_wrapper() -> None:
    shared = layers.TimeDistributed(layers.Dense(5), name="shared")
    model = sequence_model(lambda x: layers.Add()([shared(x), shared(shared(x))]))
    assert group_sizes(model) == {}  # its output is its own input, which is the model's input
    check(model)


def test_wrapped_models_and_unknown_layers_are_named() -> None:
    class Twice(layers.Layer):
        def call(self, x: Any) -> Any:
            return 2 * x

        def compute_output_shape(self, shape: Any) -> Any:
            return shape

    model = sequence_model(lambda x: layers.TimeDistributed(Twice(), name="twice")(layers.Dense(6, name="d")(x)))
    assert group_sizes(model) == {}
    assert frozen_reasons(model) == {"twice": "TimeDistributed around Twice, which has no rule"}
