"""Sparse weights in real files: zeros counted, outputs equal, sizes as predicted, everything loads."""

from __future__ import annotations

import numpy as np
import pytest

from edgeprune.cost.sparse_encoding import saved_bytes
from edgeprune.errors import InputError
from edgeprune.export.convert import convert
from edgeprune.tflite.flatbuffer import parse_model
from edgeprune.tflite.inspect import summarize
from edgeprune.validate.parity import check_parity

pytestmark = pytest.mark.keras


def convolutional():
    import keras

    layers = keras.layers
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(32, 3, padding="same", use_bias=False)(inputs)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Conv2D(96, 1)(layers.DepthwiseConv2D(3, padding="same")(x))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(64, 3, strides=2)(x))
    return keras.Model(inputs, layers.Dense(10)(layers.Dense(128, activation="relu")(x)))


def dense():
    import keras

    layers = keras.layers
    return keras.Sequential(
        [keras.Input((300,)), layers.Dense(400, activation="relu"), layers.Dense(70), layers.Dense(10)]
    )


def attention():
    import keras

    inputs = keras.Input((10, 48))
    return keras.Model(inputs, keras.layers.MultiHeadAttention(4, 16)(inputs, inputs))


def sparse(make, sparsity: float, seed: int = 0):
    """A model whose prunable kernels have that share of zeros, the least weights by magnitude."""
    import keras

    from edgeprune.pipeline.kernels import sparse_weights

    keras.utils.set_random_seed(seed)
    model = make()
    for weight in sparse_weights(model):
        value = np.asarray(weight.variable)
        gone = np.argsort(np.abs(value), axis=None)[: round(sparsity * value.size)]
        value = value.reshape(-1).copy()
        value[gone] = 0
        weight.variable.assign(value.reshape(weight.shape))
    return model


def keras_zeros(model) -> int:
    from edgeprune.sparsity.weights import prunable_weights

    return sum(int((np.asarray(weight.variable) == 0).sum()) for weight in prunable_weights(model))


def file_zeros(content: bytes) -> int:
    weights = summarize(parse_model(content, "x")).weights
    return sum(round(weight.zero_fraction * int(np.prod(weight.shape))) for weight in weights)


def samples(model, count: int = 20):
    return [np.random.default_rng(1).normal(size=(count, *model.inputs[0].shape[1:])).astype(np.float32)]


@pytest.mark.parametrize("mode", ["none", "float16", "int8"])
@pytest.mark.parametrize("sparsity", [0.5, 0.9])
@pytest.mark.parametrize("make", [convolutional, dense, attention], ids=lambda make: make.__name__)
def test_the_file_is_the_model_and_as_large_as_predicted(make, sparsity, mode):
    """Three models, two sparsities and three modes: within 5 % of the predicted size."""
    from edgeprune.pipeline.kernels import stored_kernels

    model = sparse(make, sparsity)
    x = samples(model)
    plain = convert(model, mode, lambda: [x])
    content = convert(model, mode, lambda: [x], sparse=True)
    assert check_parity(model, content, x, mode).passed
    if mode == "int8":
        assert file_zeros(content) >= keras_zeros(model)  # small weights are rounded to zero
    else:
        assert file_zeros(content) == keras_zeros(model)
    kernels = stored_kernels(model)
    assert len(content) <= len(plain)
    assert len(content) == pytest.approx(len(plain) - saved_bytes(kernels.values(), mode), rel=0.05)


def test_at_90_percent_the_file_shrinks():
    model = sparse(convolutional, 0.9)
    sizes = {mode: len(convert(model, mode, sparse=True)) / len(convert(model, mode)) for mode in ("none", "float16")}
    assert sizes["none"] < 0.2
    assert sizes["float16"] < 0.3


def test_full_int8_dense_layers_stay_dense():
    """With sparse weights the runtime doesn't load them; convolutions are stored sparsely in the same file."""
    model = sparse(convolutional, 0.9)
    content = convert(model, "int8", lambda: [samples(model)], sparse=True)
    encodings = {weight.shape: weight.encoding for weight in summarize(parse_model(content, "x")).weights}
    assert (encodings[(128, 64)], encodings[(10, 128)]) == ("dense", "dense")
    assert (encodings[(96, 1, 1, 32)], encodings[(64, 3, 3, 96)]) == ("sparse", "sparse")


def test_zero_inputs_are_left_out():
    """16 of 300 inputs are read: walking along inputs first, only their 400 weights each are stored."""
    model = dense()
    kernel = model.layers[0].kernel
    value = np.asarray(kernel).copy()
    value[16:] = 0  # inputs
    kernel.assign(value)
    content = convert(model, "none", sparse=True)
    assert check_parity(model, content, samples(model), "none").passed
    assert file_zeros(content) == (300 - 16) * 400
    stored = {weight.shape: weight.stored_bytes for weight in summarize(parse_model(content, "x")).weights}
    assert stored[(400, 300)] <= 16 * 400 * 4 + 20


def test_a_dense_model_stays_as_it_is():
    model = dense()
    assert convert(model, "none", sparse=True) == convert(model, "none")


def test_the_same_model_gives_the_same_bytes():
    model = sparse(dense, 0.5)
    assert convert(model, "float16", sparse=True) == convert(model, "float16", sparse=True)


def test_dynamic_and_sparse_are_not_combined():
    with pytest.raises(InputError, match="the mode dynamic can't be combined with sparse weights"):
        convert(dense(), "dynamic", sparse=True)
