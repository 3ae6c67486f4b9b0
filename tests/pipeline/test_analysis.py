"""What is said of layers that can't be pruned."""

from __future__ import annotations

import pytest

from edgeprune.pipeline.analysis import ONE_UNIT, analyse

pytestmark = pytest.mark.keras


def test_a_layer_whose_channels_are_one_unit_is_named():
    """One output channel: removing it would remove the layer."""
    import keras

    inputs = keras.Input((4, 4, 2))
    x = keras.layers.Conv2D(1, 3, name="narrow")(inputs)
    x = keras.layers.Conv2D(6, 1, name="wide")(x)
    model = keras.Model(inputs, keras.layers.Dense(2, name="head")(keras.layers.Flatten()(x)))
    assert [(row.layer, row.kind, row.reason) for row in analyse(model).frozen()] == [
        ("head", "Dense", "model output"),
        ("narrow", "Conv2D", ONE_UNIT),
    ]
