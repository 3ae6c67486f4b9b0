"""BatchNorm statistics after re-estimation against numpy over all samples at once."""

from __future__ import annotations

import numpy as np
import pytest

from edgeprune.recover.batchnorm import reestimate_statistics

pytestmark = pytest.mark.keras


def samples(count: int, *shape: int) -> np.ndarray:
    """Sorted by brightness, so that batches differ: their means vary as much as the samples do."""
    rng = np.random.default_rng(5)
    values = rng.normal(rng.uniform(-2, 3, shape[-1:]), rng.uniform(0.5, 2, shape[-1:]), (count, *shape))
    values += np.linspace(-3, 3, count).reshape(-1, *[1] * len(shape))
    return values.astype(np.float32)


def batches(x: np.ndarray, size: int) -> list[tuple[np.ndarray, None]]:
    return [(x[start : start + size], None) for start in range(0, len(x), size)]


def normalized(shape: tuple[int, ...], **options):
    import keras

    layer = keras.layers.BatchNormalization(**options)
    return keras.Sequential([keras.Input(shape), layer]), layer


def assert_statistics(layer, mean: np.ndarray, variance: np.ndarray) -> None:
    np.testing.assert_allclose(np.asarray(layer.moving_mean), mean, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(np.asarray(layer.moving_variance), variance, rtol=1e-5)


@pytest.mark.parametrize("size", [16, 64, 24])  # equal batches, one batch, and a last one of 16
def test_statistics_are_those_of_all_samples(size):
    x = samples(64, 4, 5, 3)
    model, layer = normalized((4, 5, 3), momentum=0.9)
    assert reestimate_statistics(model, batches(x, size)) == -(-64 // size)
    assert_statistics(layer, x.mean((0, 1, 2)), x.var((0, 1, 2)))
    assert layer.momentum == 0.9


def test_small_last_batches_weigh_less():
    """63 samples around 0 and a last batch of one far away; equal weights would put the mean at half the distance."""
    x = np.concatenate([samples(63, 2), np.full((1, 2), 100.0, dtype=np.float32)])
    model, layer = normalized((2,))
    assert reestimate_statistics(model, batches(x, 63)) == 2
    assert_statistics(layer, x.mean(0), x.var(0))


def test_the_channel_axis_may_be_the_first():
    x = samples(32, 6, 3).transpose(0, 2, 1)
    model, layer = normalized((3, 6), axis=1)
    reestimate_statistics(model, batches(x, 10))
    assert_statistics(layer, x.mean((0, 2)), x.var((0, 2)))


def test_a_shared_layer_takes_in_all_its_calls():
    """Both inputs pass one layer; the second has four times as many positions, and so weighs four times as much."""
    import keras

    left, right = keras.Input((3, 2)), keras.Input((12, 2))
    layer = keras.layers.BatchNormalization()
    pool = keras.layers.GlobalAveragePooling1D()
    model = keras.Model([left, right], keras.layers.Add()([pool(layer(left)), pool(layer(right))]))
    x, y = samples(20, 3, 2), samples(20, 12, 2) * 3 + 1
    reestimate_statistics(model, [((x[k : k + 8], y[k : k + 8]), None) for k in (0, 8, 16)])
    everything = np.concatenate([x.reshape(-1, 2), y.reshape(-1, 2)])
    assert_statistics(layer, everything.mean(0), everything.var(0))


def test_layers_in_nested_models_see_normalized_inputs():
    """The inner layer's input is the outer one's output in training mode: normalized by the batch, then scaled by
    gamma 2 and shifted by beta 3. With one batch its statistics are 3 and 4 * v / (v + epsilon)."""
    import keras

    inner, last = normalized((5,))
    outer = keras.layers.BatchNormalization()
    model = keras.Sequential([keras.Input((5,)), outer, inner])
    outer.gamma.assign(np.full(5, 2.0))
    outer.beta.assign(np.full(5, 3.0))
    x = samples(64, 5)
    reestimate_statistics(model, batches(x, 64))
    assert_statistics(outer, x.mean(0), x.var(0))
    assert_statistics(last, np.full(5, 3.0), 4 * x.var(0) / (x.var(0) + outer.epsilon))


def test_everything_else_stays():
    """Weights, the random state of dropout, a frozen BatchNorm and its momentum."""
    import keras

    frozen = keras.layers.BatchNormalization(momentum=0.7)
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(3),
            frozen,
            keras.layers.Dropout(0.5),
            keras.layers.BatchNormalization(),
        ]
    )
    frozen.trainable = False
    moving = {id(v) for v in (model.layers[-1].moving_mean, model.layers[-1].moving_variance)}
    before = [(variable, np.asarray(variable).copy()) for variable in model.variables if id(variable) not in moving]
    assert any("seed" in variable.path for variable, _ in before)
    reestimate_statistics(model, batches(samples(32, 4), 8))
    for variable, value in before:
        np.testing.assert_array_equal(np.asarray(variable), value, err_msg=variable.path)
    assert frozen.momentum == 0.7
    assert not np.array_equal(np.asarray(model.layers[-1].moving_mean), np.zeros(3))


def test_dictionaries_of_inputs():
    import keras

    inputs = {"a": keras.Input((3,), name="a"), "b": keras.Input((3,), name="b")}
    layer = keras.layers.BatchNormalization()
    model = keras.Model(inputs, layer(keras.layers.Add()([inputs["a"], inputs["b"]])))
    a, b = samples(32, 3), samples(32, 3)[::-1] * 2
    reestimate_statistics(model, [({"a": a[k : k + 8], "b": b[k : k + 8]}, None) for k in range(0, 32, 8)])
    assert_statistics(layer, (a + b).mean(0), (a + b).var(0))


def test_an_error_leaves_the_model_as_it_was():
    model, layer = normalized((3,), momentum=0.95)
    layer.moving_mean.assign([1.0, 2.0, 3.0])
    original = layer.call

    def failing():
        yield samples(8, 3), None
        raise RuntimeError("the disk is gone")

    with pytest.raises(RuntimeError, match="disk is gone"):
        reestimate_statistics(model, failing())
    assert layer.momentum == 0.95
    assert np.asarray(layer.moving_mean).tolist() == [1.0, 2.0, 3.0]
    assert np.asarray(layer.moving_variance).tolist() == [1.0, 1.0, 1.0]
    assert layer.call == original


def test_training_goes_on_with_moving_averages():
    """After the re-estimation a training step moves the mean by 1 - momentum of the way, as before."""
    x = samples(32, 3)
    model, layer = normalized((3,), momentum=0.75)
    reestimate_statistics(model, batches(x, 32))
    mean = np.asarray(layer.moving_mean)
    model(x + 4.0, training=True)
    np.testing.assert_allclose(np.asarray(layer.moving_mean), mean + 0.25 * 4.0, rtol=1e-5, atol=1e-5)


def test_without_layers_or_batches_nothing_happens():
    import keras

    plain = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])

    def untouched():
        raise AssertionError("no batch is needed")
        yield

    assert reestimate_statistics(plain, untouched()) == 0
    model, layer = normalized((3,))
    assert reestimate_statistics(model, []) == 0
    assert np.asarray(layer.moving_variance).tolist() == [1.0, 1.0, 1.0]
