"""Parity passes what is only rounded and fails what is a different model."""

from __future__ import annotations

import numpy as np
import pytest

from edgeprune.cost_rates import QUANTIZE_MODES
from edgeprune.errors import InputError, ValidationError
from edgeprune.export.convert import convert
from edgeprune.validate.parity import TOLERANCE, check_parity

pytestmark = pytest.mark.keras


def copy_of(model):
    import keras

    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


def without_norm_statistics(model):
    gamma, beta, mean, variance = model.get_layer("norm").get_weights()
    model.get_layer("norm").set_weights([gamma, beta, mean * 0, variance * 0 + 1])


def without_norm(model):
    ones = np.ones(16)
    model.get_layer("norm").set_weights([ones, ones * 0, ones * 0, ones])


def swapped_channels(model):
    kernel, *bias = model.get_layer("depthwise").get_weights()
    model.get_layer("stem").set_weights([model.get_layer("stem").get_weights()[0][..., ::-1]])
    model.get_layer("depthwise").set_weights([kernel[:, :, ::-1], *bias])


def swapped_outputs(model):
    kernel, bias = model.get_layer("classes").get_weights()
    model.get_layer("classes").set_weights([kernel[:, ::-1], bias[::-1]])


def other_scaling(model):
    """As if the file expected pixels in 0..255."""
    model.get_layer("stem").set_weights([model.get_layer("stem").get_weights()[0] * 255])


@pytest.mark.parametrize("mode", QUANTIZE_MODES)
def test_converted_model_passes(classifier, lite, images, mode):
    parity = check_parity(classifier, lite[mode], [images], mode)
    assert parity.passed
    assert parity.quantize == mode
    assert parity.samples == 40
    assert parity.tolerance == TOLERANCE[mode]
    assert 0 <= parity.mean_error <= parity.max_error <= parity.tolerance


@pytest.mark.parametrize("mode", ["none", "int8"])
@pytest.mark.parametrize(
    "damage", [without_norm_statistics, without_norm, swapped_channels, swapped_outputs, other_scaling]
)
def test_another_model_fails(classifier, images, mode, damage):
    other = copy_of(classifier)
    damage(other)
    parity = check_parity(classifier, convert(other, mode, lambda: iter([[images]])), [images], mode)
    assert not parity.passed


def test_errors_are_relative_to_each_output_s_largest_value():
    import keras

    value = keras.Input((1,), name="value")
    reference = keras.Model(value, [keras.layers.Rescaling(1000.0)(value), keras.layers.Rescaling(0.5)(value)])
    off = keras.Model(value, [keras.layers.Rescaling(1001.0)(value), keras.layers.Rescaling(0.6)(value)])
    inputs = [np.array([[1.0], [-2.0]], np.float32)]
    parity = check_parity(reference, convert(off, "none"), inputs, "none")
    # second output: 0.1 * 2 off at a scale of 1; on average (0.1 + 0.2) / 2
    assert parity.max_error == pytest.approx(0.2, rel=1e-4)
    assert parity.mean_error == pytest.approx(0.15, rel=1e-4)
    assert not parity.passed


def test_an_all_zero_output_is_compared_absolutely():
    import keras

    value = keras.Input((1,), name="value")
    zero = keras.Model(value, keras.layers.Rescaling(0.0)(value))
    off = keras.Model(value, keras.layers.Rescaling(0.0, offset=3.0)(value))
    assert check_parity(zero, convert(off, "none"), [np.ones((2, 1), np.float32)], "none").max_error == pytest.approx(3)


def test_nan_never_passes():
    import keras

    value = keras.Input((1,), name="value")
    identity = keras.Model(value, keras.layers.Rescaling(1.0)(value))

    @keras.saving.register_keras_serializable("edgeprune_tests")
    class Root(keras.layers.Layer):
        def call(self, x):
            return keras.ops.sqrt(x)

    root = keras.Model(value, Root()(value))
    below_zero = [np.array([[4.0], [-1.0]], np.float32)]
    parity = check_parity(identity, convert(root, "none"), below_zero, "none")
    assert not parity.passed
    assert parity.max_error == float("inf")
    with pytest.raises(ValidationError, match="Keras model's output 0 holds NaN"):
        check_parity(root, convert(root, "none"), below_zero, "none")


def test_inputs_of_equal_shape_are_not_swapped():
    import keras

    zebra, apple = keras.Input((3,), name="zebra"), keras.Input((3,), name="apple")
    model = keras.Model([zebra, apple], keras.layers.Subtract()([zebra, apple]))
    rng = np.random.default_rng(0)
    inputs = [rng.random((5, 3), dtype=np.float32), rng.random((5, 3), dtype=np.float32)]
    content = convert(model, "none")
    assert check_parity(model, content, inputs, "none").passed
    # the other way round the sign flips: an error of up to twice the largest value
    other = keras.Model([zebra, apple], keras.layers.Subtract()([apple, zebra]))
    assert check_parity(other, content, inputs, "none").max_error > 1


def test_half_precision_reference_gets_the_room_its_own_rounding_takes():
    import keras

    vector = keras.Input((64,))
    model = keras.Model(vector, keras.layers.Dense(8, dtype="mixed_float16")(vector))
    inputs = [np.random.default_rng(0).random((10, 64), dtype=np.float32)]
    parity = check_parity(model, convert(model, "none"), inputs, "none")
    assert parity.passed
    assert TOLERANCE["none"] < parity.max_error < parity.tolerance == 1e-2


def test_other_output_shape_is_said(classifier, images):
    import keras

    other = keras.Model(classifier.input, keras.layers.Dense(3)(classifier.layers[-2].output))
    with pytest.raises(ValidationError, match=r"\(3,\).*\(5,\)"):
        check_parity(classifier, convert(other, "none"), [images], "none")


def test_mode_and_samples_are_checked(classifier, lite, images):
    with pytest.raises(InputError, match='did you mean "int8"'):
        check_parity(classifier, lite["none"], [images], "int88")
    with pytest.raises(InputError, match="at least one sample"):
        check_parity(classifier, lite["none"], [images[:0]], "none")
