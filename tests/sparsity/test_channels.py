"""Masked equals removed, over architectures: the outputs of the smaller model are those of the masked one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from edgeprune.errors import InputError
from edgeprune.sparsity.channels import channel_ranking, remove_pruned_channels

pytestmark = pytest.mark.keras

layers = keras.layers


def inverted_residual(x: Any) -> Any:
    y = layers.ReLU(6.0)(layers.BatchNormalization()(layers.Conv2D(12, 1, use_bias=False)(x)))
    y = layers.ReLU(6.0)(layers.BatchNormalization()(layers.DepthwiseConv2D(3, padding="same")(y)))
    return layers.Add()([x, layers.Conv2D(8, 1)(y)])


def squeeze_excite(x: Any) -> Any:
    s = layers.GlobalAveragePooling2D(keepdims=True)(x)
    s = layers.Conv2D(8, 1, activation="sigmoid")(layers.Conv2D(4, 1, activation="swish")(s))
    return layers.Multiply()([x, s])


def concatenation(x: Any) -> Any:
    return layers.Concatenate()([layers.Conv2D(4, 1, activation="elu")(x), layers.Conv2D(6, 3, padding="same")(x)])


def grouped(x: Any) -> Any:
    return layers.Conv2D(8, 3, groups=4, padding="same")(x)


def nested(x: Any) -> Any:
    return keras.Sequential([keras.Input((6, 6, 8)), layers.Conv2D(6, 3), layers.PReLU(shared_axes=[1, 2])])(x)


def flattened(x: Any) -> Any:
    x = layers.Dense(9, activation="tanh")(layers.Flatten()(layers.MaxPooling2D()(x)))
    return layers.Reshape((3, 3, 1))(layers.Dense(9)(x))


def layer_norm(x: Any) -> Any:
    return layers.Conv2D(7, 1)(layers.LayerNormalization()(layers.Conv2D(6, 1)(x)))


BODIES = [inverted_residual, squeeze_excite, concatenation, grouped, nested, flattened, layer_norm]


def model_around(body: Callable[[Any], Any]) -> Any:
    keras.utils.set_random_seed(0)
    image = keras.Input((6, 6, 3))
    x = body(layers.Conv2D(8, 3, padding="same", name="first")(image))
    x = layers.Conv2D(6, 2, name="last")(x)
    model = keras.Model(image, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))
    random = np.random.default_rng(0)
    for variable in model.variables:  # biases and statistics that are not zero or one
        if variable.ndim == 1:
            variable.assign(random.uniform(0.5, 1.5, variable.shape))
    return model


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("globally", [False, True])
def test_removing_masked_channels_keeps_the_outputs(body: Callable[[Any], Any], globally: bool) -> None:
    model = model_around(body)
    ranking = channel_ranking(model, None, None, None, globally, "test")
    scores = [np.abs(np.asarray(weight.variable)) for weight in ranking.scored]
    masks = ranking.masks(scores, 1.0, 0.5, None)
    for (_, variable), mask in zip(ranking.masked, masks, strict=True):
        variable.assign(np.asarray(variable) * mask)
    smaller = remove_pruned_channels(model)
    x = np.random.default_rng(1).normal(size=(4, 6, 6, 3)).astype("float32")
    np.testing.assert_allclose(smaller.predict(x, verbose=0), model.predict(x, verbose=0), atol=1e-5)
    assert smaller.count_params() < model.count_params()


def test_half_of_every_group_goes() -> None:
    ranking = channel_ranking(model_around(inverted_residual), None, None, None, False, "test")
    scores = [np.abs(np.asarray(weight.variable)) for weight in ranking.scored]
    masks = dict(zip([path for path, _ in ranking.masked], ranking.masks(scores, 1.0, 0.5, None), strict=True))
    assert masks["first/kernel"].any(axis=(0, 1, 2)).sum() == 4
    # both sides of the addition keep the same channels, and what reads them is masked too
    assert np.array_equal(masks["first/kernel"].any(axis=(0, 1, 2)), masks["last/kernel"].any(axis=(0, 1, 3)))


def test_the_units_with_the_smallest_mean_go() -> None:
    model = keras.Sequential([keras.Input((2,)), layers.Dense(3), layers.Dense(1)])
    model.layers[0].kernel.assign([[1.0, 3.0, -2.0], [1.0, -1.0, 2.0]])  # means of |w| 1, 2, 2
    ranking = channel_ranking(model, None, None, None, False, "test")
    masks = ranking.masks([np.abs(np.asarray(w.variable)) for w in ranking.scored], 1.0, 1 / 3, None)
    assert [mask.astype(int).tolist() for mask in masks] == [[[0, 1, 1], [0, 1, 1]], [[0], [1], [1]]]


def test_a_dense_model_has_nothing_to_remove() -> None:
    with pytest.raises(InputError, match="is pruned"):
        remove_pruned_channels(model_around(inverted_residual))


def test_only_outputs_can_not_be_pruned() -> None:
    model = keras.Sequential([keras.Input((2,)), layers.Dense(3)])
    with pytest.raises(InputError, match="can be masked"):
        channel_ranking(model, None, None, None, False, "test")
