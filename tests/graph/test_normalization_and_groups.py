"""Normalizations over channels and grouped convolutions."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from graph_oracle import check, frozen_reasons, group_sizes
from keras import layers

pytestmark = pytest.mark.keras


def model_around(*steps: Any, size: int = 6, filters: int = 8) -> Any:
    """Input -> Conv2D "a" -> steps -> Conv2D "b" with 4 filters -> Flatten -> Dense."""
    image = keras.Input((size, size, 3))
    x = layers.Conv2D(filters, 3, padding="same", name="a")(image)
    for step in steps:
        x = step(x)
    x = layers.Flatten()(layers.Conv2D(4, 3, name="b")(x))
    return keras.Model(image, layers.Dense(3, name="head")(x))


@pytest.mark.parametrize(
    "normalization",
    [
        lambda: layers.LayerNormalization(),
        lambda: layers.LayerNormalization(axis=[1, 2, 3]),
        lambda: layers.LayerNormalization(axis=[2, 1]),
        lambda: layers.LayerNormalization(scale=False, center=False),
        lambda: layers.RMSNormalization(),
        lambda: layers.UnitNormalization(),
        lambda: layers.UnitNormalization(axis=1),
        lambda: layers.GroupNormalization(groups=1),
        lambda: layers.GroupNormalization(groups=-1),
    ],
)
def test_every_channel_is_a_unit(normalization: Any) -> None:
    model = model_around(normalization())
    assert group_sizes(model) == {"a": 8, "b": 4}
    assert frozen_reasons(model) == {}
    check(model)


# 8 channels: 4 groups of 2 go as a whole; of 2 groups of 4, one place of both goes
@pytest.mark.parametrize(("groups", "units", "groups_after"), [(4, 4, 2), (2, 4, 2)])
def test_group_normalization_keeps_equal_groups(groups: int, units: int, groups_after: int) -> None:
    model = model_around(layers.GroupNormalization(groups=groups, name="norm"))
    assert group_sizes(model) == {"a": units, "b": 4}
    norm = check(model, ratio=0.5).smaller.get_layer("norm")
    assert (norm.groups, norm.gamma.shape) == (groups_after, (4,))


@pytest.mark.parametrize(
    ("groups", "filters", "sizes"),
    [
        # c_in / groups = 1: an input channel goes with its outputs
        (8, 8, {"a": 8, "b": 4}),
        (8, 16, {"a": 8, "b": 4}),
        # 4 groups of 2 -> 3: whole groups
        (4, 12, {"a": 4, "b": 4}),
        # 2 groups of 4 -> 3: places, inputs and outputs apart
        (2, 6, {"a": 4, "g": 3, "b": 4}),
    ],
)
def test_grouped_convolution(groups: int, filters: int, sizes: dict[str, int]) -> None:
    model = model_around(
        layers.Conv2D(filters, 3, groups=groups, padding="same", name="g"), layers.BatchNormalization()
    )
    assert group_sizes(model) == sizes
    smaller = check(model, ratio=0.5).smaller
    layer = smaller.get_layer("g")
    assert smaller.get_layer("a").filters % layer.groups == 0
    assert layer.filters % layer.groups == 0


def test_macs_of_a_grouped_convolution_by_hand() -> None:
    from edgeprune.cost.counts import total_macs
    from edgeprune.graph.groups import find_groups
    from edgeprune.graph.network import to_network
    from edgeprune.graph.trace import trace

    image = keras.Input((4, 4, 6))
    model = keras.Model(image, layers.Conv2D(4, 3, groups=2, padding="same")(image))
    traced = trace(model)
    network = to_network(traced, find_groups(traced))
    assert total_macs(network, network.full) == 4 * 4 * 3 * 3 * (6 // 2) * 4


def test_group_normalization_between_residuals() -> None:
    model = model_around(
        lambda x: layers.Add()([x, layers.GroupNormalization(groups=4)(layers.Conv2D(8, 1, name="c")(x))]),
        layers.GroupNormalization(groups=2),
    )
    # pairs of channels (4 groups of 2) at equal places of 2 groups of 4: {0, 1, 4, 5} and {2, 3, 6, 7}
    assert group_sizes(model) == {"a": 2, "b": 4}
    check(model)


def test_adapted_normalization_inside_the_model() -> None:
    image = keras.Input((4, 4, 3))
    normalization = layers.Normalization(name="standardize")
    normalization.adapt(np.random.default_rng(0).normal(5.0, 3.0, (8, 4, 4, 3)))
    x = layers.Rescaling(1 / 127.5, offset=-1.0)(normalization(image))
    model = keras.Model(image, layers.Dense(2)(layers.Flatten()(layers.Conv2D(5, 3, name="a")(x))))
    assert group_sizes(model) == {"a": 5}
    assert frozen_reasons(model) == {}
    check(model)


def test_normalization_and_rescaling_of_pruned_channels() -> None:
    model = model_around(layers.Normalization(name="standardize"), layers.Rescaling(0.5))
    assert group_sizes(model) == {"a": 8, "b": 4}
    check(model)


def test_normalization_by_given_constants_freezes_pruned_channels_only() -> None:
    constants = {"mean": [0.1, 0.2, 0.3], "variance": [1.0, 2.0, 3.0]}
    image = keras.Input((4, 4, 3))
    x = layers.Rescaling([1.0, 2.0, 3.0])(layers.Normalization(name="on_input", **constants)(image))
    x = layers.Normalization(name="inside", **constants)(layers.Conv2D(3, 3, name="a")(x))
    model = keras.Model(image, layers.Dense(2)(layers.Flatten()(layers.Conv2D(5, 1, name="b")(x))))
    assert group_sizes(model) == {"b": 5}
    assert frozen_reasons(model) == {"inside": "Normalization by given constants"}
    check(model)


def test_resizing_and_augmentation_pass_channels() -> None:
    model = model_around(
        layers.RandomFlip(), layers.RandomRotation(0.1), layers.Resizing(8, 8), layers.CenterCrop(6, 6), size=5
    )
    assert group_sizes(model) == {"a": 8, "b": 4}
    assert frozen_reasons(model) == {}
    check(model)


def custom(x: Any) -> Any:
    return x - keras.ops.mean(x, axis=-1, keepdims=True)


@pytest.mark.parametrize("activation", ["softmax", "log_softmax", custom])
def test_activations_that_may_mix_channels_hold_them(activation: Any) -> None:
    with keras.saving.custom_object_scope({"custom": custom}):
        model = model_around(layers.Conv2D(5, 3, activation=activation, name="mix"))
        assert group_sizes(model) == {"a": 8, "b": 4}
        assert check(model).smaller.get_layer("mix").filters == 5
        model = model_around(layers.Activation(activation, name="mix"))
        assert group_sizes(model) == {"b": 4}
        check(model)


@pytest.mark.parametrize("activation", ["gelu", "silu", keras.ops.hard_silu, layers.LeakyReLU(negative_slope=0.3)])
def test_activations_of_one_channel_pass(activation: Any) -> None:
    model = model_around(layers.Conv2D(5, 3, activation=activation, name="c"))
    assert group_sizes(model) == {"a": 8, "c": 5, "b": 4}
    check(model)


def test_an_activation_that_halves_the_channels_freezes() -> None:
    # Keras 3.15 believes that "glu" keeps the shape, so such a model can't run; it must not be pruned on that belief.
    model = model_around(layers.Activation("glu", name="gate"))
    assert group_sizes(model) == {"b": 4}
    assert list(frozen_reasons(model)) == ["gate"]


def test_a_layer_with_a_lora_adapter_freezes() -> None:
    model = model_around()
    model.get_layer("b").enable_lora(2)
    assert group_sizes(model) == {}
    assert "LoRA" in frozen_reasons(model)["b"]


def test_batch_normalization_over_another_axis() -> None:
    model = model_around(layers.BatchNormalization(axis=1, name="rows"))
    assert group_sizes(model) == {"a": 8, "b": 4}
    assert check(model).smaller.get_layer("rows").gamma.shape == (6,)
