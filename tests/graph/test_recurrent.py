"""Recurrent layers: a unit goes with its gates, its row of the recurrent kernel and its place in the states."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import pytest
from graph_oracle import check, frozen_reasons, group_sizes
from keras import layers
from small_models import check_at_both_ratios, sequence_model, train_save_load

pytestmark = pytest.mark.keras

CELLS = [layers.LSTM, layers.GRU, layers.SimpleRNN]


@pytest.mark.parametrize("cell", CELLS)
def test_two_layers_are_two_groups(cell: Any) -> None:
    def build() -> Any:
        return sequence_model(
            lambda x: cell(8, return_sequences=True, name="b")(cell(7, return_sequences=True, name="a")(x))
        )

    assert group_sizes(build()) == {"a": 7, "b": 8}
    assert frozen_reasons(build()) == {}
    check_at_both_ratios(build)


@pytest.mark.parametrize(("cell", "gates"), list(zip(CELLS, (4, 3, 1), strict=True)))
def test_weight_shapes_of_the_smaller_layer(cell: Any, gates: int) -> None:
    pruned = check(sequence_model(lambda x: cell(8, return_sequences=True, name="a")(x)), 0.5)
    kernel, recurrent, *_ = (tuple(weight.shape) for weight in pruned.smaller.get_layer("a").weights)
    assert (kernel, recurrent) == ((5, 4 * gates), (4, 4 * gates))


@pytest.mark.parametrize("options", [{"reset_after": False}, {"use_bias": False}, {"go_backwards": True}])
def test_variants_of_gru(options: dict[str, Any]) -> None:
    # reset_after has a bias (2, 3 * units), without it (3 * units,)
    check_at_both_ratios(lambda: sequence_model(lambda x: layers.GRU(8, return_sequences=True, name="a", **options)(x)))


def test_states_join_an_encoder_and_a_decoder() -> None:
    sequence = keras.Input((6, 5))
    x, h, c = layers.LSTM(8, return_sequences=True, return_state=True, name="a")(sequence)
    y = layers.LSTM(8, name="b")(x, initial_state=[h, c])
    model = keras.Model(sequence, layers.Dense(3)(y))
    assert group_sizes(model) == {"a": 8}  # h of a is the first h of b
    check(model)


def test_initial_states_from_dense_layers() -> None:
    sequence, start = keras.Input((6, 5)), keras.Input((4,))
    h, c = layers.Dense(8, name="h")(start), layers.Dense(8, name="c")(start)
    model = keras.Model([sequence, start], layers.Dense(3)(layers.LSTM(8, name="a")(sequence, initial_state=[h, c])))
    assert group_sizes(model) == {"h": 8}
    check(model)


def test_an_initial_state_that_is_an_input_keeps_all_units() -> None:
    sequence, start = keras.Input((6, 5)), keras.Input((8,))
    model = keras.Model([sequence, start], layers.Dense(3)(layers.GRU(8, name="a")(sequence, initial_state=start)))
    assert group_sizes(model) == {}
    check(model)


@pytest.mark.parametrize("merge_mode", ["concat", "sum", "mul", "ave"])
def test_bidirectional_units_go_in_pairs(merge_mode: str) -> None:
    def build() -> Any:
        both = layers.Bidirectional(layers.LSTM(7, return_sequences=True), merge_mode=merge_mode, name="both")
        return sequence_model(lambda x: both(layers.Dense(6, name="d")(x)))

    assert group_sizes(build()) == {"d": 6, "both": 7}
    check_at_both_ratios(build)


def test_bidirectional_without_a_merge() -> None:
    def body(x: Any) -> Any:
        forward, backward = layers.Bidirectional(layers.GRU(7, return_sequences=True), None, name="both")(x)
        return layers.Subtract()([forward, layers.ReLU()(backward)])

    assert group_sizes(sequence_model(body)) == {"both": 7}
    check_at_both_ratios(lambda: sequence_model(body))


def test_bidirectional_states() -> None:
    sequence = keras.Input((6, 5))
    parts = layers.Bidirectional(layers.LSTM(7, return_state=True), name="both")(sequence)
    model = keras.Model(sequence, layers.Dense(3)(layers.Concatenate()(list(parts))))
    assert group_sizes(model) == {"both": 7}
    check(model)


def test_bidirectional_with_a_backward_layer_of_its_own() -> None:
    backward = layers.LSTM(7, activation="relu", go_backwards=True, return_sequences=True)
    model = sequence_model(
        lambda x: layers.Bidirectional(layers.LSTM(7, return_sequences=True), backward_layer=backward, name="both")(x)
    )
    assert group_sizes(model) == {"both": 7}
    check(model)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [(layers.ConvLSTM1D, (4, 8, 3)), (layers.ConvLSTM2D, (4, 6, 6, 3)), (layers.ConvLSTM3D, (3, 4, 4, 4, 3))],
)
def test_conv_lstm(layer: Any, shape: tuple[int, ...]) -> None:
    frames = keras.Input(shape)
    x = layer(6, 3, padding="same", return_sequences=True, name="a")(frames)
    model = keras.Model(frames, layers.Dense(2)(layers.Flatten()(layer(5, 3, name="b")(x))))
    assert group_sizes(model) == {"a": 6, "b": 5}
    check(model)


def test_masked_steps() -> None:
    def build(before: bool) -> Any:
        sequence = keras.Input((6, 5))
        steps = [layers.Masking(name="mask"), layers.Dense(6, name="d")]
        x = sequence
        for layer in steps if before else steps[::-1]:
            x = layer(x)
        return keras.Model(sequence, layers.Dense(3)(layers.LSTM(5, name="a")(x)))

    assert group_sizes(build(True)) == {"d": 6, "a": 5}
    assert frozen_reasons(build(True)) == {}
    assert group_sizes(build(False)) == {"a": 5}
    assert frozen_reasons(build(False))["mask"] == "masks steps by all channels"
    check(build(True))
    check(build(False))


def test_an_activation_over_all_units_freezes_them() -> None:
    model = sequence_model(lambda x: layers.GRU(8, activation="softmax", return_sequences=True, name="a")(x))
    assert group_sizes(model) == {}
    assert frozen_reasons(model) == {"a": "softmax over the channels"}


def test_layers_that_are_not_covered_are_named() -> None:
    cells = layers.RNN([layers.LSTMCell(8), layers.LSTMCell(7)], return_sequences=True, name="cells")
    model = sequence_model(lambda x: cells(layers.Dense(6, name="d")(x)))
    assert group_sizes(model) == {}
    assert frozen_reasons(model) == {"cells": "no rule for RNN"}
    check(model)

    batch = keras.Input(batch_shape=(3, 6, 5))
    stateful = keras.Model(batch, layers.Dense(3)(layers.LSTM(8, stateful=True, name="a")(batch)))
    assert group_sizes(stateful) == {}
    assert frozen_reasons(stateful) == {"a": "a stateful layer keeps its states outside its weights"}


def test_two_layer_bidirectional_classifier_of_words(tmp_path: Path) -> None:
    def build() -> Any:
        words = keras.Input((7,), dtype="int32")
        x = layers.Embedding(9, 8, mask_zero=True, name="words")(words)
        x = layers.Bidirectional(layers.LSTM(6, return_sequences=True), name="first")(x)
        x = layers.Bidirectional(layers.LSTM(5), name="second")(x)
        return keras.Model(words, layers.Dense(3, activation="softmax")(layers.Dropout(0.3)(x)))

    assert group_sizes(build()) == {"words": 8, "first": 6, "second": 5}
    check_at_both_ratios(build)
    train_save_load(check(build()), tmp_path)
