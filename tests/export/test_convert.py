"""Each mode converts, has fixed sizes, keeps the Keras order of inputs and outputs, and agrees with Keras."""

from __future__ import annotations

import hashlib
import tempfile

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from edgeprune.cost_rates import QUANTIZE_MODES
from edgeprune.errors import InputError
from edgeprune.export.convert import convert

pytestmark = pytest.mark.keras


def run(content: bytes, *arrays: np.ndarray) -> list[np.ndarray]:
    """The runtime by itself, inputs and outputs by position: what a program on a board does."""
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    for detail, array in zip(interpreter.get_input_details(), arrays, strict=True):
        interpreter.set_tensor(detail["index"], array)
    interpreter.invoke()
    return [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]


def operations(content: bytes) -> dict[str, int]:
    """Operation name -> version."""
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
    model = schema.Model.GetRootAs(content)
    codes = [model.OperatorCodes(i) for i in range(model.OperatorCodesLength())]
    return {names[code.BuiltinCode()]: code.Version() for code in codes}


@pytest.fixture(scope="session")
def converted(residual_model, images):
    return {mode: convert(residual_model, mode, lambda: iter([[images[:40]]])) for mode in QUANTIZE_MODES}


# largest error relative to the largest output; float32 rounds at 1e-7, float16 at 1e-3, int8 steps are 1/255 per layer
@pytest.mark.parametrize(("mode", "bound"), [("none", 1e-5), ("float16", 1e-2), ("dynamic", 0.05), ("int8", 0.1)])
def test_agrees_with_keras(converted, residual_model, images, mode, bound):
    expected = residual_model.predict(images, verbose=0)
    actual = np.concatenate([run(converted[mode], image[None])[0] for image in images])
    assert np.abs(actual - expected).max() / np.abs(expected).max() < bound


@pytest.mark.parametrize("mode", QUANTIZE_MODES)
def test_sizes_are_fixed_and_borders_are_float(converted, mode):
    interpreter = Interpreter(model_content=converted[mode])
    interpreter.allocate_tensors()
    (image,), (scores,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert image["shape_signature"].tolist() == [1, 8, 8, 3]
    assert scores["shape_signature"].tolist() == [1, 4]
    assert image["dtype"] == scores["dtype"] == np.float32
    assert not any(-1 in detail["shape_signature"] for detail in interpreter.get_tensor_details())
    assert interpreter.get_signature_list() == {"serving_default": {"inputs": ["image"], "outputs": ["output_0"]}}


def test_batch_norm_and_relu6_are_folded_and_dropout_is_gone(converted):
    assert set(operations(converted["none"])) == {"CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "RESHAPE", "FULLY_CONNECTED"}


def test_each_mode_is_what_it_says(converted):
    sizes = {mode: len(content) for mode, content in converted.items()}
    assert sizes["float16"] < 0.75 * sizes["none"]
    assert sizes["dynamic"] < 0.6 * sizes["none"]
    assert {"QUANTIZE", "DEQUANTIZE"} <= set(operations(converted["int8"]))
    types = {d["dtype"] for d in tensors(converted["int8"])}
    assert np.int8 in types
    floats = [d["name"] for d in tensors(converted["int8"]) if d["dtype"] == np.float32]
    assert len(floats) == 2  # the input and the output
    assert {d["dtype"] for d in tensors(converted["none"])} <= {np.float32, np.int32}


def tensors(content: bytes):
    # without delegates, or the tensors XNNPACK adds are listed as well
    from ai_edge_litert.interpreter import OpResolverType

    resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    return Interpreter(model_content=content, experimental_op_resolver_type=resolver).get_tensor_details()


def test_same_model_gives_the_same_bytes(converted, residual_model, images):
    again = {mode: convert(residual_model, mode, lambda: iter([[images[:40]]])) for mode in ("none", "int8")}
    assert all(again[mode] == converted[mode] for mode in again)


def test_per_tensor_dense_for_old_runtimes(residual_model, converted):
    # version 12 is the first that tflite-runtime 2.14 refuses; 11 and below load
    assert operations(converted["dynamic"])["FULLY_CONNECTED"] == 12
    assert operations(convert(residual_model, "dynamic", per_channel_dense=False))["FULLY_CONNECTED"] < 12


def test_model_and_temporary_folder_are_left_as_they_were(residual_model, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = [hashlib.sha256(weight.tobytes()).digest() for weight in residual_model.get_weights()]
    convert(residual_model, "none")
    assert [hashlib.sha256(weight.tobytes()).digest() for weight in residual_model.get_weights()] == before
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("shapes", [((4,), (4,)), ((4,), (2, 3))], ids=["same", "different"])
@pytest.mark.parametrize("as_dictionary", [False, True])
def test_two_inputs_stay_in_the_model_s_order(shapes, as_dictionary):
    import keras

    # named against the alphabet, which the converter sorts by
    first, second = keras.Input(shapes[0], name="zebra"), keras.Input(shapes[1], name="apple")
    flat = keras.layers.Flatten()
    joined = keras.layers.Concatenate()([flat(first), flat(second)])
    # 1x the first, 100x the second input's sum: swapping them can't go unnoticed
    dense = keras.layers.Dense(1, use_bias=False)
    inputs = {"zebra": first, "apple": second} if as_dictionary else [first, second]
    model = keras.Model(inputs, dense(joined))
    sizes = int(np.prod(shapes[0])), int(np.prod(shapes[1]))
    dense.set_weights([np.concatenate([np.full((sizes[0], 1), 1.0), np.full((sizes[1], 1), 100.0)])])
    rng = np.random.default_rng(0)
    zebra, apple = (rng.random((1, *shape), dtype=np.float32) for shape in shapes)
    ordered = [{"zebra": zebra, "apple": apple}[tensor.name] for tensor in model.inputs]
    expected = zebra.sum() + 100.0 * apple.sum()
    assert run(convert(model, "none"), *ordered)[0].item() == pytest.approx(expected, rel=1e-5)
    # int8: the ranges 0..1 and 0..0.01 would be swapped if the samples were taken by position
    samples = [
        np.repeat(array, 20, axis=0) * np.linspace(0, 1, 20).reshape(-1, *[1] * (array.ndim - 1)) for array in ordered
    ]
    quantized = convert(model, "int8", lambda: iter([[array.astype(np.float32) for array in samples]]))
    assert run(quantized, *ordered)[0].item() == pytest.approx(expected, rel=0.05)


def test_twelve_outputs_stay_in_the_model_s_order():
    import keras

    vector = keras.Input((3,))
    model = keras.Model(vector, [keras.layers.Dense(size, name=f"z{20 - size}")(vector) for size in range(1, 13)])
    outputs = run(convert(model, "none"), np.ones((1, 3), np.float32))
    assert [output.shape[1] for output in outputs] == list(range(1, 13))


def test_unused_input_and_shared_output_are_kept():
    import keras

    used, unused = keras.Input((2,), name="used"), keras.Input((5,), name="a_unused")
    doubled = keras.layers.Rescaling(2.0)(used)
    content = convert(keras.Model([used, unused], [doubled, doubled, used]), "none")
    value = np.array([[1.0, 3.0]], np.float32)
    first, second, third = run(content, value, np.zeros((1, 5), np.float32))
    assert first.tolist() == second.tolist() == [[2.0, 6.0]]
    assert third.tolist() == [[1.0, 3.0]]


def test_integer_input_keeps_its_type():
    import keras

    tokens = keras.Input((6,), dtype="int32", name="tokens")
    model = keras.Model(tokens, keras.layers.Dense(2)(keras.layers.Flatten()(keras.layers.Embedding(9, 4)(tokens))))
    value = np.array([[0, 1, 2, 3, 4, 8]], np.int32)
    (actual,) = run(convert(model, "none"), value)
    np.testing.assert_allclose(actual, model.predict(value, verbose=0), rtol=1e-5)


def test_sequential_with_another_fixed_batch_becomes_batch_one():
    import keras

    model = keras.Sequential([keras.Input(batch_shape=(8, 4)), keras.layers.Dense(2)])
    (actual,) = run(convert(model, "none"), np.ones((1, 4), np.float32))
    np.testing.assert_allclose(actual[0], model.predict(np.ones((8, 4)), verbose=0)[0], rtol=1e-5)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16"])
def test_mixed_precision_becomes_float32(policy):
    import keras

    layers = keras.layers
    image = keras.Input((8, 8, 3))
    block = keras.Sequential(
        [keras.Input((8, 8, 3)), layers.Conv2D(4, 3, dtype=policy), layers.BatchNormalization(dtype=policy)],
        name="block",
    )
    x = layers.Lambda(lambda x: x * 2, dtype=policy)(block(image))
    x = layers.Flatten(dtype=policy)(layers.TimeDistributed(layers.Dense(3, dtype=policy), dtype=policy)(x))
    model = keras.Model(image, layers.Dense(2, dtype="float32")(x))
    value = np.random.default_rng(0).random((1, 8, 8, 3), dtype=np.float32)
    content = convert(model, "none")
    assert {d["dtype"] for d in tensors(content)} <= {np.float32, np.int32}
    (actual,) = run(content, value)
    expected = model.predict(value, verbose=0)
    # bfloat16 keeps 8 bits
    assert np.abs(actual - expected).max() < 0.05 * np.abs(expected).max()
    assert model.get_layer("block").layers[0].compute_dtype == policy.removeprefix("mixed_")


def refused(model, mode="none", representative=None) -> str:
    with pytest.raises(InputError) as caught:
        convert(model, mode, representative)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def tiny(*shape: int | None):
    import keras

    image = keras.Input(shape, name="image")
    return keras.Model(image, keras.layers.Conv2D(2, 3, name="conv")(image))


def test_operation_without_tflite_kernel_is_named():
    import keras

    @keras.saving.register_keras_serializable("edgeprune_tests")
    class Unusual(keras.layers.Layer):
        def call(self, x):
            return keras.ops.erfinv(x)

    vector = keras.Input((4,))
    message = refused(keras.Model(vector, keras.layers.Dense(2)(Unusual(name="odd_one")(vector))))
    assert "Erfinv" in message
    assert 'layer "odd_one"' in message


def test_loops_are_refused_for_int8_before_the_converter_crashes():
    import keras

    model = keras.Sequential([keras.Input((5, 3)), keras.layers.LSTM(4), keras.layers.Dense(2)])
    value = np.random.default_rng(0).random((1, 5, 3), dtype=np.float32)
    assert "unroll" in refused(model, "int8", lambda: iter([[value]]))
    np.testing.assert_allclose(run(convert(model, "none"), value)[0], model.predict(value, verbose=0), atol=1e-5)


def test_open_size_asks_for_input_shape():
    assert "--input-shape" in refused(tiny(None, None, 3))


def test_output_size_that_depends_on_the_data_is_refused():
    import keras
    import tensorflow as tf

    class Positive(keras.layers.Layer):
        def call(self, x):
            return tf.boolean_mask(x, x > 0)

        def compute_output_shape(self, shape):
            return (None,)

    vector = keras.Input((4,))
    assert "depends on the data" in refused(keras.Model(vector, Positive()(vector)))


def test_unbuilt_text_and_quantized_models_are_refused():
    import keras

    assert "keras.Input" in refused(keras.Sequential([keras.layers.Dense(2)]))
    words = keras.Input((1,), dtype="string")
    assert "text" in refused(keras.Model(words, keras.layers.Identity()(words)))
    quantized = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="small")])
    quantized.quantize("int8")
    assert '"small" is already quantized' in refused(quantized)


@pytest.mark.parametrize(
    ("batches", "said"),
    [
        ([], "no representative inputs"),
        ([[np.zeros((1, 8, 8, 3), np.float32)] * 2], "1 arrays"),
        ([np.zeros((1, 8, 8, 3), np.float32)], "1 arrays"),
        ([[np.zeros((2, 8, 8, 1), np.float32)]], "(2, 8, 8, 3)"),
        ([[np.full((1, 8, 8, 3), np.nan, np.float32)]], "NaN"),
    ],
)
def test_wrong_representative_inputs(batches, said):
    assert said in refused(tiny(8, 8, 3), "int8", lambda: iter(batches))


def test_mode_and_samples_are_checked_first():
    assert 'did you mean "float16"?' in refused(tiny(8, 8, 3), "flot16")
    assert "representative" in refused(tiny(8, 8, 3), "int8")


def test_errors_of_the_user_s_data_function_pass_through():
    def broken():
        yield [np.zeros((1, 8, 8, 3), np.float32)]
        raise InputError("my own message")

    assert refused(tiny(8, 8, 3), "int8", broken) == "my own message"
