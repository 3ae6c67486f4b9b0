"""Every translated layer: the tf_keras layer is the oracle."""

from __future__ import annotations

import numpy as np
import pytest

from edgeprune.errors import InputError
from edgeprune.interop.keras2 import from_keras2
from edgeprune.interop.keras2_layers import TRANSLATED
from tests.interop.keras2_models import assert_equal_outputs, layers, sequential, with_random_weights

pytestmark = pytest.mark.keras

IMAGE, STEPS, VOLUME = (8, 8, 3), (6, 3), (4, 5, 6, 2)

# (input shape, class, settings)
CASES = [
    (IMAGE, "Conv2D", {"filters": 6, "kernel_size": 3, "groups": 3, "activation": "relu"}),
    (STEPS, "Conv1D", {"filters": 4, "kernel_size": 3, "padding": "causal", "dilation_rate": 2}),
    (VOLUME, "Conv3D", {"filters": 2, "kernel_size": 2, "strides": 2}),
    (STEPS, "Conv1DTranspose", {"filters": 2, "kernel_size": 3, "strides": 2}),
    (IMAGE, "Conv2DTranspose", {"filters": 4, "kernel_size": 3, "strides": 2, "padding": "same", "output_padding": 1}),
    (IMAGE, "Conv2DTranspose", {"filters": 4, "kernel_size": 2, "strides": 3}),
    (VOLUME, "Conv3DTranspose", {"filters": 2, "kernel_size": 2}),
    (STEPS, "DepthwiseConv1D", {"kernel_size": 2}),
    (IMAGE, "DepthwiseConv2D", {"kernel_size": 3, "strides": 2, "padding": "same", "depth_multiplier": 2}),
    (STEPS, "SeparableConv1D", {"filters": 4, "kernel_size": 2}),
    (IMAGE, "SeparableConv2D", {"filters": 4, "kernel_size": 3, "dilation_rate": 2, "activation": "swish"}),
    (IMAGE, "EinsumDense", {"equation": "bhwc,cd->bhwd", "output_shape": (None, None, 4), "bias_axes": "d"}),
    (IMAGE, "Dense", {"units": 4, "activation": "gelu", "use_bias": False}),
    (IMAGE, "BatchNormalization", {"epsilon": 0.01, "scale": False}),
    (IMAGE, "LayerNormalization", {"axis": [1, 2, 3]}),
    (IMAGE, "GroupNormalization", {"groups": 3}),
    (IMAGE, "UnitNormalization", {}),
    (IMAGE, "Activation", {"activation": "elu"}),
    (IMAGE, "LeakyReLU", {"alpha": 0.2}),
    (IMAGE, "ELU", {"alpha": 0.3}),
    (IMAGE, "PReLU", {"shared_axes": [1, 2]}),
    (IMAGE, "ReLU", {"max_value": 2.0, "negative_slope": 0.1, "threshold": 0.2}),
    (IMAGE, "ThresholdedReLU", {"theta": 0.4}),
    (IMAGE, "Softmax", {"axis": 1}),
    (STEPS, "UpSampling1D", {"size": 3}),
    (IMAGE, "UpSampling2D", {"size": 2, "interpolation": "bilinear"}),
    (VOLUME, "UpSampling3D", {"size": 2}),
    (STEPS, "ZeroPadding1D", {"padding": (1, 2)}),
    (IMAGE, "ZeroPadding2D", {"padding": ((1, 0), (0, 2))}),
    (VOLUME, "ZeroPadding3D", {"padding": 1}),
    (STEPS, "Cropping1D", {"cropping": (1, 2)}),
    (IMAGE, "Cropping2D", {"cropping": ((1, 0), (0, 2))}),
    (VOLUME, "Cropping3D", {"cropping": 1}),
    (STEPS, "MaxPooling1D", {"pool_size": 2}),
    (IMAGE, "MaxPooling2D", {"pool_size": 3, "strides": 2, "padding": "same"}),
    (VOLUME, "MaxPooling3D", {"pool_size": 2}),
    (STEPS, "AveragePooling1D", {"pool_size": 2}),
    (IMAGE, "AveragePooling2D", {"pool_size": 3, "strides": 2, "padding": "same"}),
    (VOLUME, "AveragePooling3D", {"pool_size": 2}),
    (STEPS, "GlobalAveragePooling1D", {}),
    (IMAGE, "GlobalAveragePooling2D", {"keepdims": True}),
    (VOLUME, "GlobalAveragePooling3D", {}),
    (STEPS, "GlobalMaxPooling1D", {}),
    (IMAGE, "GlobalMaxPooling2D", {}),
    (VOLUME, "GlobalMaxPooling3D", {"keepdims": True}),
    (IMAGE, "Flatten", {}),
    (IMAGE, "Permute", {"dims": (2, 3, 1)}),
    (IMAGE, "Reshape", {"target_shape": (4, -1)}),
    ((5,), "RepeatVector", {"n": 3}),
    (IMAGE, "Rescaling", {"scale": 0.1, "offset": 0.3}),
    (IMAGE, "Resizing", {"height": 5, "width": 7}),
    (IMAGE, "Resizing", {"height": 5, "width": 7, "interpolation": "nearest"}),
    (IMAGE, "CenterCrop", {"height": 5, "width": 4}),
    (IMAGE, "Normalization", {"mean": [1.0, 2.0, 3.0], "variance": [1.0, 4.0, 9.0]}),
    (IMAGE, "Dropout", {"rate": 0.5}),
    (STEPS, "SpatialDropout1D", {"rate": 0.5}),
    (IMAGE, "SpatialDropout2D", {"rate": 0.5}),
    (VOLUME, "SpatialDropout3D", {"rate": 0.5}),
    (IMAGE, "GaussianDropout", {"rate": 0.5}),
    (IMAGE, "GaussianNoise", {"stddev": 1.0}),
    (IMAGE, "AlphaDropout", {"rate": 0.5}),
    (IMAGE, "ActivityRegularization", {"l1": 0.1}),
    (IMAGE, "RandomFlip", {"mode": "horizontal"}),
    (IMAGE, "RandomRotation", {"factor": 0.3}),
    (IMAGE, "RandomZoom", {"height_factor": 0.3}),
    (IMAGE, "RandomContrast", {"factor": 0.3}),
    (IMAGE, "RandomBrightness", {"factor": 0.3}),
    (IMAGE, "RandomTranslation", {"height_factor": 0.3, "width_factor": 0.3}),
    (STEPS, "LSTM", {"units": 4, "return_sequences": True, "go_backwards": True}),
    (STEPS, "GRU", {"units": 4}),
    (STEPS, "GRU", {"units": 4, "reset_after": False}),
    (STEPS, "SimpleRNN", {"units": 4, "use_bias": False}),
    ((4, 6, 3), "ConvLSTM1D", {"filters": 2, "kernel_size": 2}),
    ((4, 5, 5, 2), "ConvLSTM2D", {"filters": 2, "kernel_size": 2, "padding": "same"}),
    ((3, 4, 4, 4, 2), "ConvLSTM3D", {"filters": 1, "kernel_size": 2, "return_sequences": True}),
]
# Those that need other layers or several inputs; the tests below and those of the graph hold them.
ELSEWHERE = (
    "Add AdditiveAttention Attention Average Bidirectional Concatenate Dot Embedding GRUCell LSTMCell Masking Maximum "
    "Minimum MultiHeadAttention Multiply RNN SimpleRNNCell StackedRNNCells Subtract TimeDistributed"
)


def test_every_translated_class_has_a_case():
    assert {kind for _, kind, _ in CASES} | set(ELSEWHERE.split()) == TRANSLATED


@pytest.mark.parametrize(
    ("shape", "kind", "settings"), CASES, ids=[f"{kind}-{i}" for i, (_, kind, _) in enumerate(CASES)]
)
def test_a_layer_computes_the_same(shape, kind, settings):
    old = sequential(shape, getattr(layers(), kind)(name="it", **settings))
    new = from_keras2(old)
    assert_equal_outputs(old, new)
    assert [layer.name for layer in new.layers] == ["it"]
    assert new.input_shape == old.input_shape
    assert len(new.weights) == len(old.weights)


# Keras 2's hard_sigmoid is clip(x / 5 + 0.5, 0, 1); Keras 3's is clip(x / 6 + 0.5, 0, 1).
@pytest.mark.parametrize(
    ("shape", "make"),
    [
        (IMAGE, lambda ls: ls.Conv2D(3, 3, activation="hard_sigmoid")),
        (IMAGE, lambda ls: ls.SeparableConv2D(3, 3, activation="hard_sigmoid")),
        (IMAGE, lambda ls: ls.Activation("hard_sigmoid")),
        (STEPS, lambda ls: ls.SimpleRNN(3, activation="hard_sigmoid")),
        (STEPS, lambda ls: ls.LSTM(3, recurrent_activation="hard_sigmoid")),
        (STEPS, lambda ls: ls.GRU(3, recurrent_activation="hard_sigmoid")),
        (STEPS, lambda ls: ls.Bidirectional(ls.LSTM(3, recurrent_activation="hard_sigmoid"))),
        (STEPS, lambda ls: ls.TimeDistributed(ls.Dense(3, activation="hard_sigmoid"))),
        (STEPS, lambda ls: ls.RNN([ls.LSTMCell(3, recurrent_activation="hard_sigmoid"), ls.SimpleRNNCell(2)])),
    ],
)
def test_hard_sigmoid_keeps_its_meaning(shape, make):
    old = sequential(shape, make(layers()))
    assert_equal_outputs(old, from_keras2(old))


@pytest.mark.parametrize("ending", [None, ".h5", ".keras"])
def test_an_activation_that_is_a_layer_comes_behind(ending, tmp_path):
    ls = layers()
    shared = ls.LeakyReLU(0.1)
    old = sequential(IMAGE, ls.Conv2D(2, 3, activation=shared, name="a"), ls.Dense(2, activation=shared, name="b"))
    path = tmp_path / f"model{ending}"
    if ending is not None:
        old.save(path)
    new = from_keras2(old if ending is None else path)
    assert_equal_outputs(old, new)
    assert [layer.name for layer in new.layers] == ["a", "a_activation", "b", "b_activation"]


@pytest.mark.parametrize(
    "make",
    [
        lambda ls: ls.Bidirectional(ls.GRU(3), merge_mode="sum", backward_layer=ls.GRU(3, go_backwards=True)),
        lambda ls: ls.Bidirectional(ls.LSTM(3, return_sequences=True)),
        lambda ls: ls.RNN([ls.GRUCell(3), ls.LSTMCell(2)], return_sequences=True),
        lambda ls: ls.TimeDistributed(ls.BatchNormalization()),
        lambda ls: ls.TimeDistributed(sequential((3,), ls.Dense(4), ls.BatchNormalization())),
    ],
)
def test_layers_that_hold_layers(make):
    old = with_random_weights(sequential(STEPS, make(layers())))
    assert_equal_outputs(old, from_keras2(old))


def test_masks_reach_the_layers_behind():
    ls = layers()
    old = sequential((7,), ls.Embedding(5, 4, mask_zero=True, input_length=7), ls.LSTM(3), dtype="int32")
    assert_equal_outputs(old, from_keras2(old))
    old = sequential(STEPS, ls.Masking(), ls.Bidirectional(ls.GRU(3)))
    assert_equal_outputs(old, from_keras2(old))


def test_adapted_normalization():
    import tf_keras

    layer = tf_keras.layers.Normalization()
    layer.adapt(np.random.default_rng(0).normal(3, 2, (20, *IMAGE)))
    old = tf_keras.Sequential([tf_keras.layers.InputLayer(IMAGE), layer])
    assert_equal_outputs(old, from_keras2(old))


def test_mixed_precision_stays():
    import tf_keras

    policy = tf_keras.mixed_precision.Policy("mixed_float16")
    old = sequential(IMAGE, layers().Conv2D(3, 3, dtype=policy))
    new = from_keras2(old)
    assert new.layers[0].dtype_policy.name == "mixed_float16"
    assert_equal_outputs(old, new, tolerance=2e-3)


def test_training_settings_of_a_layer_stay():
    import tf_keras

    old = sequential(
        IMAGE,
        layers().Conv2D(3, 3, kernel_regularizer=tf_keras.regularizers.L2(0.25), bias_constraint="non_neg"),
        layers().Dropout(0.125),
    )
    convolution, dropout = from_keras2(old).layers
    assert float(convolution.kernel_regularizer.l2) == 0.25
    assert type(convolution.bias_constraint).__name__ == "NonNeg"
    assert dropout.rate == 0.125


def custom_dense():
    import tf_keras

    class Dense(tf_keras.layers.Dense):
        def call(self, inputs):
            return 2 * super().call(inputs)

    return Dense(2, name="mine")


def relu(x):
    return 2 * x


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda ls: ls.Lambda(lambda x: x, name="code"), '"code" (Lambda) runs Python code'),
        (lambda ls: ls.LocallyConnected2D(2, 3, name="local"), '"local" (LocallyConnected2D) has no translation'),
        (lambda ls: custom_dense(), '"mine" (Dense) has no translation'),
        (lambda ls: ls.Dense(2, activation=relu, name="a"), '"a" (Dense) has the activation relu'),
        (lambda ls: ls.Dense(2, activation=ls.PReLU(), name="a"), "has the activation PReLU"),
        (lambda ls: ls.Dense(2, kernel_regularizer=lambda w: 0.0, name="r"), '"r" (Dense) has the kernel_regularizer'),
        (lambda ls: ls.TimeDistributed(ls.Activation("hard_sigmoid")), "take it out"),
    ],
)
def test_what_has_no_equal_is_named(make, said):
    old = sequential(IMAGE, make(layers()))
    with pytest.raises(InputError) as caught:
        from_keras2(old)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"stateful": True}, "keeps its state between batches"),
        ({"time_major": True}, "has time_major=True, which Keras 3 does not have"),
        ({"activation": "hard_sigmoid"}, 'has activation="hard_sigmoid", another function'),
    ],
)
def test_settings_that_have_no_equal_are_named(settings, said):
    import tf_keras

    old = tf_keras.Sequential([tf_keras.layers.LSTM(2, batch_input_shape=(3, 4, 2), name="steps", **settings)])
    with pytest.raises(InputError) as caught:
        from_keras2(old)
    assert f'"steps" (LSTM) {said}' in str(caught.value)
