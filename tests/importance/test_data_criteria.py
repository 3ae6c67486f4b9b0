"""SNIP, APoZ and mean activation on models whose gradients and activations can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from edgeprune.errors import InputError
from edgeprune.importance.table import CRITERIA
from edgeprune.pipeline.analysis import analyse
from edgeprune.pipeline.channels import prune_channels

pytestmark = pytest.mark.keras


def two_channels(activation: str):
    """x -> Dense(2) with kernel [1, -2] -> activation -> Dense(1) with kernel [3, 1]."""
    import keras

    inputs = keras.Input((1,))
    hidden = keras.layers.Dense(2, use_bias=False, activation=activation)(inputs)
    model = keras.Model(inputs, keras.layers.Dense(1, use_bias=False)(hidden))
    model.set_weights([np.array([[1.0, -2.0]]), np.array([[3.0], [1.0]])])
    return model


def scores(model, name: str, batches, **options) -> np.ndarray:
    return analyse(model).scores(name, model=model, batches=batches, n_batches=len(batches), **options)[0]


def batch(values: list[float]):
    array = np.array(values, dtype=np.float32)[:, None]
    return array, np.zeros_like(array)


def test_snip_is_the_share_of_the_absolute_weight_times_gradient():
    """loss = y for x = 1, then x = 3, gradients added: dL/dw of the first kernel is 4 * (3, 1), so |w * g| is
    (12, 8). The second kernel reads (4, -8) in sum: |w * g| is 12 + 8 for the output. Shares of the 40: 0.3 and 0.2."""
    import keras

    model = two_channels("linear")
    found = scores(model, "snip", [batch([1.0]), batch([3.0])], loss=lambda y, p: keras.ops.mean(p))
    assert np.allclose(found, [0.3, 0.2])


def test_snip_adds_gradients_before_taking_the_absolute_value():
    """x = 1 and x = -1 cancel: no connection matters."""
    import keras

    model = two_channels("linear")
    found = scores(model, "snip", [batch([1.0]), batch([-1.0])], loss=lambda y, p: keras.ops.mean(p))
    assert np.allclose(found, 0.0)


def test_apoz_counts_what_the_next_layer_reads_as_zero():
    """ReLU lets channel 0 through for x > 0 and channel 1 for x < 0: 3 and 1 of 4 samples. Divided by their mean."""
    model = two_channels("relu")
    found = scores(model, "apoz", [batch([1.0, 2.0]), batch([3.0, -1.0])])
    assert np.allclose(found, np.array([0.75, 0.25]) / 0.5)


def test_mean_activation_is_the_mean_magnitude():
    """Channel 0: (1 + 2 + 3 + 0) / 4; channel 1: 2 / 4. Divided by their mean of 1."""
    model = two_channels("relu")
    found = scores(model, "mean_activation", [batch([1.0, 2.0]), batch([3.0, -1.0])])
    assert np.allclose(found, [1.5, 0.5])


def test_activations_inside_nested_models_are_seen():
    """The same two channels, made inside a nested model and read outside."""
    import keras

    inner_input = keras.Input((1,))
    inner = keras.Model(inner_input, keras.layers.Dense(2, use_bias=False, activation="relu")(inner_input))
    inputs = keras.Input((1,))
    model = keras.Model(inputs, keras.layers.Dense(1, use_bias=False)(inner(inputs)))
    model.set_weights([np.array([[1.0, -2.0]]), np.array([[3.0], [1.0]])])
    assert np.allclose(scores(model, "mean_activation", [batch([1.0, 2.0, 3.0, -1.0])]), [1.5, 0.5])


def test_spatial_positions_count_alike():
    """One image of 2x2: a channel that is on at 3 of 4 positions scores 0.75 of one that is always on."""
    import keras

    inputs = keras.Input((2, 2, 2))
    hidden = keras.layers.Conv2D(2, 1, use_bias=False, activation="relu")(inputs)
    model = keras.Model(inputs, keras.layers.Conv2D(1, 1, use_bias=False)(hidden))
    model.layers[1].set_weights([np.eye(2, dtype=np.float32)[None, None]])
    image = np.ones((1, 2, 2, 2), dtype=np.float32)
    image[0, 0, 0, 0] = -1.0
    found = scores(model, "apoz", [(image, None)])
    assert found[0] / found[1] == pytest.approx(0.75)


@pytest.mark.parametrize("name", [name for name, row in CRITERIA.items() if row.needs_data])
def test_a_criterion_that_needs_data_says_so(name):
    with pytest.raises(InputError, match="needs data"):
        prune_channels(two_channels("relu"), 0.5, name)


@pytest.mark.parametrize("name", CRITERIA)
def test_every_criterion_prunes(name):
    """bn_scale needs a BatchNorm, so the model has one."""
    import keras

    inputs = keras.Input((4, 4, 3))
    x = keras.layers.Conv2D(8, 3)(inputs)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(x)))
    generator = np.random.default_rng(0)
    data = generator.random((16, 4, 4, 3)).astype("float32"), generator.integers(0, 2, 16)
    smaller = prune_channels(model, 0.5, name, data=data)
    assert smaller.layers[1].filters == 4
    assert smaller.output_shape == model.output_shape
