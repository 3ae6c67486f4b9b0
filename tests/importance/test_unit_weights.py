"""Which weights make a unit: L1 of whole models against sums over kernel entries named by hand."""

from __future__ import annotations

import numpy as np
import pytest

from edgeprune.pipeline.analysis import analyse

pytestmark = pytest.mark.keras


def l1(model) -> dict[str, list[float]]:
    """Sums of absolute weights by group, without the division by the group's mean."""
    from edgeprune.importance.table import score_units

    found = analyse(model)
    scores = score_units("l1", found.unit_weights(), len(found.groups.group_of_unit))
    return {name: scores[units].tolist() for name, units in zip(found.groups.names, found.groups.units, strict=True)}


def test_a_depthwise_multiplier_counts_all_outputs_of_a_channel():
    """Channel c makes outputs 2c and 2c + 1: its unit has the convolution's column and both depthwise filters."""
    import keras

    inputs = keras.Input((4, 4, 1))
    made = keras.layers.Conv2D(2, 1, use_bias=False, name="conv")(inputs)
    made = keras.layers.DepthwiseConv2D(1, depth_multiplier=2, use_bias=False)(made)
    model = keras.Model(inputs, keras.layers.Conv2D(1, 1)(made))
    model.layers[1].set_weights([np.array([[[[1.0, -2.0]]]])])
    model.layers[2].set_weights([np.array([[[[10.0, 20.0], [-40.0, 80.0]]]])])
    assert l1(model) == {"conv": [1 + 10 + 20, 2 + 40 + 80]}


def test_a_flattened_channel_is_scored_by_what_makes_it():
    """The dense layer after Flatten reads a unit at 4 places; only the convolution makes it."""
    import keras

    inputs = keras.Input((2, 2, 1))
    made = keras.layers.Flatten()(keras.layers.Conv2D(3, 1, use_bias=False, name="conv")(inputs))
    hidden = keras.layers.Dense(2, use_bias=False, name="hidden")(made)
    model = keras.Model(inputs, keras.layers.Dense(1)(hidden))
    model.layers[1].set_weights([np.array([[[[1.0, -2.0, 4.0]]]])])
    model.get_layer("hidden").set_weights([np.stack([np.ones(12), -np.arange(12.0)], axis=1)])
    assert l1(model) == {"conv": [1.0, 2.0, 4.0], "hidden": [12.0, 66.0]}


def test_a_flattened_unit_that_rides_on_is_added_at_every_place():
    """A BatchNorm after Flatten has 4 gammas per channel: all of them belong to the channel's unit."""
    import keras

    inputs = keras.Input((2, 2, 1))
    made = keras.layers.Flatten()(keras.layers.Conv2D(2, 1, use_bias=False, name="conv")(inputs))
    norm = keras.layers.BatchNormalization()
    model = keras.Model(inputs, keras.layers.Dense(1)(norm(made)))
    norm.gamma.assign([1.0, 10.0, 2.0, 20.0, 3.0, 30.0, 4.0, 40.0])
    found = analyse(model).scores("bn_scale")[0]
    np.testing.assert_allclose(found, np.array([10.0, 100.0]) / 55.0)


def test_a_shared_layer_counts_once():
    """Called twice, it has one kernel."""
    import keras

    left, right = keras.Input((1,)), keras.Input((1,))
    shared = keras.layers.Dense(2, use_bias=False, name="shared")
    model = keras.Model([left, right], keras.layers.Dense(1)(keras.layers.Add()([shared(left), shared(right)])))
    shared.set_weights([np.array([[3.0, -5.0]])])
    assert l1(model) == {"shared": [3.0, 5.0]}


def test_layers_joined_by_an_addition_share_their_units():
    import keras

    inputs = keras.Input((1,))
    parts = [keras.layers.Dense(2, use_bias=False, name=name)(inputs) for name in ("one", "two")]
    model = keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Add()(parts)))
    model.get_layer("one").set_weights([np.array([[1.0, 2.0]])])
    model.get_layer("two").set_weights([np.array([[-10.0, 20.0]])])
    assert l1(model) == {"one": [11.0, 22.0]}
