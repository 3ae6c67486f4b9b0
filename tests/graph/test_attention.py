"""Attention layers: whole heads go, the length of a head stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from graph_oracle import check, frozen_reasons, group_sizes
from keras import layers, ops
from small_models import check_at_both_ratios, sequence_model, train_save_load

pytestmark = pytest.mark.keras


def cross(layer: Any, query: int = 8, value: int = 6) -> Any:
    """A model in which the layer's query and value come from two Dense layers of the given widths."""
    return sequence_model(
        lambda x: layer(layers.Dense(query, name="query")(x), layers.Dense(value, name="value")(x)), steps=6
    )


def multi_head(**options: Any) -> Any:
    return layers.MultiHeadAttention(4, 3, name="attention", **options)


def test_heads_and_output_channels_are_two_groups() -> None:
    model = cross(multi_head())
    # Four heads; as many output channels as the query has.
    assert group_sizes(model) == {"query": 8, "value": 6, "attention": 4, "attention#2": 8}
    assert frozen_reasons(model) == {}


@pytest.mark.parametrize(
    "options",
    [{}, {"value_dim": 2, "output_shape": 9}, {"use_gate": True, "use_bias": False}, {"dropout": 0.2}],
    ids=["plain", "value_dim", "gate", "dropout"],
)
def test_multi_head_equals_the_masked_model(options: dict[str, Any]) -> None:
    check_at_both_ratios(lambda: cross(multi_head(**options)))


def test_the_length_of_a_head_stays() -> None:
    pruned = check(cross(multi_head()), 0.5)
    layer = pruned.smaller.get_layer("attention")
    assert (layer.num_heads, layer.key_dim) == (2, 3)
    assert layer.query_dense.kernel.shape == (4, 2, 3)  # 4 of 8 query channels, 2 of 4 heads
    assert layer.key_dense.kernel.shape == (3, 2, 3)
    assert layer.output_dense.kernel.shape == (2, 3, 4)


def test_three_different_inputs() -> None:
    sources = [keras.Input((6, 5)), keras.Input((4, 5)), keras.Input((4, 5))]
    query, value, key = (layers.Dense(units)(one) for units, one in zip((8, 6, 7), sources, strict=True))
    x = multi_head()(query, value, key=key, use_causal_mask=False)
    model = keras.Model(sources, layers.Dense(3)(layers.Flatten()(x)))
    assert sorted(group_sizes(model).values()) == [4, 6, 7, 8, 8]
    check(model)


def test_several_output_axes_stay() -> None:
    model = sequence_model(
        lambda x: layers.Reshape((6, 6))(multi_head(output_shape=(2, 3))(x, x)),
    )
    assert group_sizes(model) == {"attention": 4}
    check(model)


def test_attention_over_two_axes() -> None:
    image = keras.Input((4, 3, 5))
    x = layers.Dense(8, name="d")(image)
    x = multi_head(attention_axes=(1, 2))(x, x)
    model = keras.Model(image, layers.Dense(3)(layers.Flatten()(x)))
    assert group_sizes(model) == {"d": 8, "attention": 4, "attention#2": 8}
    check(model)


def test_scores_that_are_an_output_keep_all_heads() -> None:
    sequence = keras.Input((6, 5))
    x, scores = multi_head()(sequence, sequence, return_attention_scores=True)
    model = keras.Model(sequence, [layers.Dense(3)(x), scores])
    assert group_sizes(model) == {"attention": 5}  # the output channels only
    check(model)


def test_scores_that_a_layer_reads_are_pruned_by_head() -> None:
    sequence = keras.Input((6, 5))
    x, scores = multi_head()(sequence, sequence, return_attention_scores=True)
    model = keras.Model(sequence, [layers.Dense(3)(x), layers.Dense(2)(layers.Flatten()(scores))])
    assert group_sizes(model) == {"attention": 4, "attention#2": 5}
    check(model)


def test_a_mask_for_all_heads_passes_and_one_per_head_freezes() -> None:
    def build(heads: int) -> Any:
        sequence, mask = keras.Input((6, 5)), keras.Input((heads, 6, 6))
        x = multi_head()(sequence, sequence, attention_mask=mask)
        return keras.Model([sequence, mask], layers.Dense(3)(x))

    assert group_sizes(build(1)) == {"attention": 4, "attention#2": 5}
    check(build(1))
    assert group_sizes(build(4)) == {}
    assert frozen_reasons(build(4)) == {"attention": "an attention mask per head"}
    check(build(4))


def test_shared_attention_has_one_set_of_heads() -> None:
    layer = multi_head()
    model = sequence_model(lambda x: layers.Concatenate()([layer(x, x), layer(layers.ReLU()(x), x)]))
    assert group_sizes(model) == {"attention": 4, "attention#2": 5}
    check(model)


def test_lora_freezes_attention() -> None:
    model = sequence_model(lambda x: multi_head()(x, x))
    model.get_layer("attention").query_dense.enable_lora(2)
    assert group_sizes(model) == {}
    assert frozen_reasons(model) == {"attention": "attention that is quantized or has LoRA weights"}


def grouped(query_heads: int, key_heads: int, **options: Any) -> Any:
    layer = layers.GroupQueryAttention(3, query_heads, key_heads, name="attention", **options)
    return cross(layer, 8, 8)


def test_key_heads_go_with_their_query_heads() -> None:
    # Query, value and output channels are one group: Keras asks the same width of all three.
    assert group_sizes(grouped(6, 3)) == {"query": 8, "attention": 3}
    pruned = check(grouped(6, 3), 0.3)
    layer = pruned.smaller.get_layer("attention")
    assert (layer.num_query_heads, layer.num_key_value_heads, layer.head_dim) == (4, 2, 3)


def test_query_heads_of_a_single_key_head_go_one_by_one() -> None:
    assert group_sizes(grouped(6, 1)) == {"query": 8, "attention": 6}
    pruned = check(grouped(6, 1), 0.5)
    layer = pruned.smaller.get_layer("attention")
    assert (layer.num_query_heads, layer.num_key_value_heads) == (3, 1)


@pytest.mark.parametrize(("query_heads", "key_heads"), [(6, 3), (4, 4), (6, 1)])
def test_grouped_query_equals_the_masked_model(query_heads: int, key_heads: int) -> None:
    check_at_both_ratios(lambda: grouped(query_heads, key_heads, use_bias=key_heads > 1))


@pytest.mark.parametrize("layer", [layers.Attention, layers.AdditiveAttention])
def test_attention_without_projections_passes_the_value(layer: Any) -> None:
    def build(shared: bool) -> Any:
        def body(x: Any) -> Any:
            query, value, key = (layers.Dense(units, name=n)(x) for units, n in ((4, "q"), (7, "v"), (4, "k")))
            return layer()([value, value] if shared else [query, value, key])

        return sequence_model(body)

    assert group_sizes(build(False)) == {"v": 7}
    assert set(frozen_reasons(build(False)).values()) == {"summed over in attention scores"}
    check_at_both_ratios(lambda: build(False))
    assert group_sizes(build(True)) == {}
    check(build(True))


def test_dot_product_attention_is_pruned_by_head() -> None:
    def body(x: Any) -> Any:
        query, key, value = (ops.reshape(layers.Dense(12, name=n)(x), (-1, 6, 4, 3)) for n in "qkv")
        return ops.reshape(ops.dot_product_attention(query, key, value), (-1, 6, 12))

    assert list(group_sizes(sequence_model(body)).values()) == [4]
    check_at_both_ratios(lambda: sequence_model(body))


def test_smaller_attention_trains_and_loads(tmp_path: Path) -> None:
    for number, model in enumerate((cross(multi_head()), grouped(6, 3))):
        folder = tmp_path / str(number)
        folder.mkdir()
        train_save_load(check(model), folder)


def test_heads_removed_are_the_ones_asked_for() -> None:
    model = cross(multi_head())
    pruned = check(model, 0.5)
    ids = pruned.trace.context.layer_ids[id(model.get_layer("attention")), "heads"]
    kept = np.flatnonzero(pruned.keep_ids[ids])
    value = model.get_layer("attention").value_dense.bias
    np.testing.assert_array_equal(
        np.asarray(value)[kept], np.asarray(pruned.smaller.get_layer("attention").value_dense.bias)
    )
