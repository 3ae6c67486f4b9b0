"""EinsumDense: which letters of the equation carry channels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import pytest
from graph_oracle import check, frozen_reasons, group_sizes
from keras import layers, ops
from small_models import check_at_both_ratios, sequence_model, train_save_load

pytestmark = pytest.mark.keras

einsum = layers.EinsumDense


def two(first: Any, second: Any) -> Any:
    return sequence_model(lambda x: second(first(x)))


@pytest.mark.parametrize(
    ("equation", "output_shape"),
    [("abc,cd->abd", (None, 9)), ("abc,cd->abd", (6, 9)), ("...x,xy->...y", 9), ("abc,dc->abd", (None, 9))],
)
def test_one_contracted_and_one_made_letter(equation: str, output_shape: Any) -> None:
    bias = equation[-1]

    def build() -> Any:
        first = einsum(equation, output_shape, bias_axes=bias, activation="relu", name="a")
        return two(first, einsum(equation, output_shape, name="b"))

    assert group_sizes(build()) == {"a": 9, "b": 9}
    check_at_both_ratios(build)


def test_heads_are_made_and_contracted_whole() -> None:
    def build() -> Any:
        split = einsum("abc,cde->abde", (None, 4, 3), bias_axes="de", name="split")
        return two(split, einsum("abde,def->abf", (None, 7), bias_axes="f", name="join"))

    assert group_sizes(build()) == {"split": 4, "join": 7}
    pruned = check(build(), 0.5)
    assert tuple(pruned.smaller.get_layer("split").kernel.shape) == (5, 2, 3)
    assert tuple(pruned.smaller.get_layer("join").kernel.shape) == (2, 3, 3)  # 4 of 7 outputs are gone
    check_at_both_ratios(build)


def test_a_kernel_per_head_rides_on_the_heads() -> None:
    def build() -> Any:
        split = einsum("abc,cde->abde", (None, 4, 3), name="split")
        inside = einsum("abde,def->abdf", (None, 4, 2), bias_axes="df", name="inside")
        join = einsum("abdf,dfg->abg", (None, 7), name="join")
        return sequence_model(lambda x: join(inside(split(x))))

    assert group_sizes(build()) == {"split": 4, "join": 7}
    pruned = check(build(), 0.5)
    assert tuple(pruned.smaller.get_layer("inside").kernel.shape) == (2, 3, 2)
    check_at_both_ratios(build)


def test_mixing_steps_passes_the_channels() -> None:
    """The token mixing of an MLP-Mixer: the kernel acts on the steps."""

    def build() -> Any:
        return two(layers.Dense(8, name="d"), einsum("abc,bd->adc", (6, 8), name="steps"))

    assert group_sizes(build()) == {"d": 8}
    check_at_both_ratios(build)
    right = two(layers.Dense(8, name="d"), einsum("ab...,bc->ac...", (6,), name="steps"))
    assert group_sizes(right) == {"d": 8}
    check(right)


def test_a_bias_that_keras_would_add_along_the_channels_freezes() -> None:
    """A bias (6, 1) is added to (6, 8) by row, but to (6, 6), with two channels removed, by column."""
    model = two(layers.Dense(8, name="d"), einsum("abc,bd->adc", (6, 8), bias_axes="d", name="steps"))
    assert group_sizes(model) == {}
    assert frozen_reasons(model)["steps"] == "Keras would add the bias along the channels once there are as many"
    check(model)
    narrow = two(layers.Dense(4, name="d"), einsum("abc,bd->adc", (6, 4), bias_axes="d", name="steps"))
    assert group_sizes(narrow) == {"d": 4}  # four channels never become six
    check_at_both_ratios(lambda: narrow)


@pytest.mark.parametrize(("made", "units"), [(3, [3, 4]), (7, [4])])
def test_rows_that_are_made_must_stay_fewer_than_the_columns_beside_them(made: int, units: list[int]) -> None:
    """Rows (made, 5) with a bias (made, 1): seven rows could become five, which Keras would take for columns."""

    def build() -> Any:
        sequence = keras.Input((6, 5))
        rows = einsum("abc,bd->adc", (made, 5), bias_axes="d", name="rows")(sequence)
        return keras.Model(sequence, layers.Dense(2)(layers.Dense(4, name="flat")(layers.Flatten()(rows))))

    assert sorted(group_sizes(build()).values()) == units
    check_at_both_ratios(build)


def test_attention_from_einsum_dense(tmp_path: Path) -> None:
    def build() -> Any:
        def body(x: Any) -> Any:
            query, key, value = (einsum("btc,chd->bthd", (None, 4, 3), bias_axes="hd", name=n)(x) for n in "qkv")
            scores = ops.softmax(ops.einsum("bthd,bshd->bhts", query, key))
            mixed = ops.einsum("bhts,bshd->bthd", scores, value)
            return einsum("bthd,hde->bte", (None, 7), bias_axes="e", name="out")(mixed)

        return sequence_model(body)

    assert sorted(group_sizes(build()).values()) == [4, 7]
    check_at_both_ratios(build)
    train_save_load(check(build()), tmp_path)


def test_shared_layer_has_one_choice_of_axis() -> None:
    split = einsum("abc,cde->abde", (None, 4, 3), name="split")
    join = einsum("abde,def->abf", (None, 7), name="join")
    model = sequence_model(lambda x: layers.Concatenate()([join(split(x)), join(split(layers.ReLU()(x)))]))
    assert group_sizes(model) == {"split": 4, "join": 7}
    check(model)


def test_softmax_over_what_is_made_freezes_it() -> None:
    model = two(einsum("abc,cd->abd", (None, 9), activation="softmax", name="a"), layers.Dense(4, name="b"))
    assert group_sizes(model) == {"b": 4}
    assert frozen_reasons(model) == {"a": "softmax over the channels"}


def test_summed_channels_stay_and_the_layer_makes_its_own() -> None:
    vectors = keras.Input((6, 5))
    x = einsum("abc,bd->ad", 4, name="a")(layers.Dense(8, name="d")(vectors))
    model = keras.Model(vectors, layers.Dense(3)(x))
    assert group_sizes(model) == {"a": 4}
    assert frozen_reasons(model) == {"a": "sums over the channels"}
    check(model)


def test_a_convolution_over_channels_keeps_them_and_makes_its_own() -> None:
    sequence = keras.Input((6, 5))
    x = layers.Permute((2, 1))(layers.Dense(8, name="d")(sequence))
    model = keras.Model(sequence, layers.Dense(3)(layers.Flatten()(layers.Conv1D(4, 3, name="c")(x))))
    assert group_sizes(model) == {"c": 4}
    assert frozen_reasons(model) == {"c": "channels lie on another axis than the one that is read"}
    check(model)
