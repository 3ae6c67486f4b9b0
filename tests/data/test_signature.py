"""Signatures of real Keras models."""

import keras
import pytest
from keras import layers

from edgeprune.data.signature import Port, signature_of
from edgeprune.errors import InputError

pytestmark = pytest.mark.keras


def _ending(*tail):
    return keras.Sequential([keras.Input((4,), name="features"), layers.Dense(3, name="out"), *tail])


def test_sequential():
    signature = signature_of(_ending())
    assert signature.inputs == (Port("features", (4,), "float32"),)
    assert signature.outputs == (Port("out", (3,), "float32", "linear"),)
    assert not signature.inputs_by_name


def test_open_sizes_and_integer_inputs():
    model = keras.Sequential([keras.Input((None,), dtype="int32"), layers.Embedding(10, 2)])
    port = signature_of(model).inputs[0]
    assert (port.shape, port.dtype) == ((None,), "int32")


@pytest.mark.parametrize(
    ("tail", "activation"),
    [
        ([layers.Softmax()], "softmax"),
        ([layers.Activation("sigmoid")], "sigmoid"),
        ([layers.Activation("softmax"), layers.Dropout(0.1), layers.Reshape((3, 1))], "softmax"),
        ([layers.Activation("relu")], None),
        ([layers.LayerNormalization()], None),
        ([keras.Sequential([keras.Input((3,)), layers.Dense(2, activation="softmax")])], "softmax"),
    ],
)
def test_what_the_output_comes_out_of(tail, activation):
    assert signature_of(_ending(*tail)).outputs[0].activation == activation


def test_an_operation_at_the_end():
    inputs = keras.Input((4,))
    for _ in range(2):  # the second one is called softmax_1
        model = keras.Model(inputs, keras.ops.softmax(inputs))
        assert signature_of(model).outputs[0].activation == "softmax"
    assert signature_of(keras.Model(inputs, inputs + 1)).outputs[0].activation is None


def test_several_inputs_and_outputs_by_name_follow_the_models_order():
    left, right = keras.Input((2,), name="left"), keras.Input((3,), name="right")
    joined = layers.Concatenate()([left, right])
    outputs = {"z": layers.Dense(4)(joined), "a": layers.Dense(1)(joined)}
    model = keras.Model({"right": right, "left": left}, outputs)
    signature = signature_of(model)
    shapes = {port.name: port.shape for port in (*signature.inputs, *signature.outputs)}
    assert shapes == {"left": (2,), "right": (3,), "z": (4,), "a": (1,)}
    assert [port.shape for port in signature.inputs] == [tensor.shape[1:] for tensor in model.inputs]
    assert [port.shape for port in signature.outputs] == [tensor.shape[1:] for tensor in model.outputs]
    assert signature.inputs_by_name
    listed = signature_of(keras.Model([left, right], list(outputs.values())))
    assert [port.name for port in listed.inputs] == ["left", "right"]
    assert not listed.inputs_by_name


@pytest.mark.parametrize(
    ("loss", "wanted"),
    [
        ("categorical_crossentropy", True),
        (keras.losses.CategoricalCrossentropy(from_logits=True), True),
        (keras.losses.categorical_crossentropy, True),
        ({"out": "categorical_crossentropy"}, True),
        (["categorical_crossentropy"], True),
        ("sparse_categorical_crossentropy", False),
        (keras.losses.SparseCategoricalCrossentropy(), False),
        ("mse", False),
    ],
)
def test_one_hot_is_what_a_categorical_loss_compares(loss, wanted):
    model = _ending()
    model.compile(loss=loss)
    assert signature_of(model).outputs[0].one_hot is wanted


def test_models_without_a_known_shape():
    class Subclassed(keras.Model):
        def call(self, x):
            return x

    for model in (keras.Sequential([layers.Dense(2)]), Subclassed()):
        with pytest.raises(InputError, match="no known input shape"):
            signature_of(model)
