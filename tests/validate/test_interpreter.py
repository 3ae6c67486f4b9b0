"""LiteModel: batches through a batch-1 file, quantized borders, order of inputs and outputs, refusals."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from edgeprune.errors import InputError, ValidationError
from edgeprune.quiet import muted_native_output
from edgeprune.validate.interpreter import LiteModel

pytestmark = pytest.mark.keras


def stock_convert(model, **settings) -> bytes:
    """TensorFlow's own converter, without edgeprune's ordering of inputs and outputs."""
    import tensorflow as tf

    with muted_native_output(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        for name, value in settings.items():
            setattr(converter, name, value)
        return converter.convert()


def test_batches_equal_single_samples_and_keras(lite, classifier, images, tmp_path):
    file = tmp_path / "model.tflite"
    file.write_bytes(lite["none"])
    model = LiteModel(file, threads=2)
    assert model.input_shapes == ((8, 8, 3),)
    (batch,) = model.predict([images])
    singles = np.concatenate([model.predict([images[n : n + 1]])[0] for n in range(len(images))])
    np.testing.assert_array_equal(batch, singles)
    np.testing.assert_allclose(batch, classifier.predict(images, verbose=0), atol=1e-5)
    assert model.predict([images[:0]])[0].shape == (0, 5)


def test_int8_borders_are_quantized_and_dequantized(classifier, images):
    import tensorflow as tf

    content = stock_convert(
        classifier,
        optimizations=[tf.lite.Optimize.DEFAULT],
        representative_dataset=lambda: ([image[None]] for image in images),
        inference_input_type=tf.int8,
        inference_output_type=tf.int8,
    )
    (actual,) = LiteModel(content).predict([images])
    assert actual.dtype == np.float32
    # softmax in int8 has steps of 1/256
    np.testing.assert_allclose(actual, classifier.predict(images, verbose=0), atol=0.1)
    np.testing.assert_allclose(actual.sum(axis=1), 1.0, atol=0.05)
    # values beyond the calibrated range 0..1 saturate instead of wrapping around
    far = LiteModel(content).predict([np.full((1, 8, 8, 3), 1000.0, np.float32)])[0]
    edge = LiteModel(content).predict([np.full((1, 8, 8, 3), 1.01, np.float32)])[0]
    np.testing.assert_array_equal(far, edge)


def test_inputs_and_outputs_of_a_stock_file_are_matched_by_name():
    import keras

    zebra, apple = keras.Input((1,), name="zebra"), keras.Input((1,), name="apple")
    scaled = [keras.layers.Rescaling(factor)(zebra) for factor in range(1, 12)]
    model = keras.Model([zebra, apple], [*scaled, keras.layers.Rescaling(-1.0)(apple)])
    lite = LiteModel(stock_convert(model), input_names=["zebra", "apple"])
    outputs = lite.predict([np.array([[1.0]], np.float32), np.array([[50.0]], np.float32)])
    assert [output.item() for output in outputs] == [*range(1, 12), -50.0]


def test_unknown_input_names_mean_by_position(lite, images):
    expected = LiteModel(lite["none"]).predict([images[:2]])[0]
    np.testing.assert_array_equal(LiteModel(lite["none"], input_names=["x"]).predict([images[:2]])[0], expected)


def test_what_the_runtime_refuses_is_quoted(lite):
    for content in (b"junk" * 50, lite["none"][: len(lite["none"]) // 3]):
        with pytest.raises(ValidationError, match="can't load the model: .+"):
            LiteModel(content)


def test_missing_file_is_the_user_s(tmp_path):
    with pytest.raises(InputError, match=r"gone\.tflite can't be read: No such file"):
        LiteModel(tmp_path / "gone.tflite")


def test_arrays_that_do_not_fit(lite, images):
    model = LiteModel(lite["none"])
    with pytest.raises(ValidationError, match="1 inputs, 2 arrays"):
        model.predict([images, images])
    with pytest.raises(ValidationError, match=r"takes \(40, 8, 8, 3\), \(40, 8, 8, 1\)"):
        model.predict([images[..., :1]])


def test_another_batch_size_is_refused():
    import keras

    model = keras.Sequential([keras.Input(batch_shape=(4, 3)), keras.layers.Dense(2)])
    with pytest.raises(ValidationError, match="first size must be 1"):
        LiteModel(stock_convert(model))


def test_loading_prints_nothing(lite, capfd):
    LiteModel(lite["none"])
    assert capfd.readouterr() == ("", "")
