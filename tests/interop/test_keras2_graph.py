"""Graphs of Keras 2: shared layers, several inputs and outputs, nested models, TensorFlow functions between layers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeprune.errors import InputError
from edgeprune.interop.equal_outputs import check_equal
from edgeprune.interop.keras2 import from_keras2
from tests.interop.keras2_models import assert_equal_outputs, inputs_for, layers, sequential, with_random_weights

pytestmark = pytest.mark.keras


def model(inputs, outputs, **options):
    import tf_keras

    return with_random_weights(tf_keras.Model(inputs, outputs, **options))


def test_shared_layers_and_several_inputs_and_outputs():
    ls = layers()
    steps, state = ls.Input((6, 3), name="steps"), ls.Input((4,), name="state")
    sequence, hidden, cell = ls.LSTM(4, return_sequences=True, return_state=True)(steps, initial_state=[state, state])
    summary = ls.GRU(4)(sequence, initial_state=hidden)
    shared = ls.Dense(4, name="shared")
    merged = ls.Add()([shared(summary), shared(hidden)])
    merged = ls.Concatenate(name="joined")([merged, cell, ls.Dot(1)([summary, hidden])])
    old = model({"steps": steps, "state": state}, [merged, sequence, steps])
    new = from_keras2(old)
    assert_equal_outputs(old, new)
    assert sorted(layer.name for layer in new.layers) == sorted(layer.name for layer in old.layers)
    assert len(new.get_layer("shared")._inbound_nodes) == 2
    assert new.count_params() == old.count_params()


def test_merging_and_attention():
    ls = layers()
    query, key = ls.Input((6, 4)), ls.Input((5, 4))
    attended, scores = ls.MultiHeadAttention(2, 3, value_dim=5)(query, key, return_attention_scores=True)
    mixed = ls.Attention(use_scale=True)([attended, key])
    mixed = ls.AdditiveAttention()([mixed, key])
    causal = ls.MultiHeadAttention(2, 3)(mixed, mixed, use_causal_mask=True)
    merged = ls.Multiply()(
        [ls.Average()([mixed, causal]), ls.Maximum()([mixed, causal]), ls.Minimum()([mixed, causal])]
    )
    old = model([query, key], {"scores": scores, "merged": ls.Subtract()([merged, mixed])})
    new = from_keras2(old)
    assert_equal_outputs(old, new)
    assert set(new.output) == {"scores", "merged"}


def test_transfer_learning():
    import keras
    import tf_keras

    ls = layers()
    base = tf_keras.applications.MobileNetV2((32, 32, 3), weights=None, include_top=False, alpha=0.35)
    base.trainable = False
    image = ls.Input((32, 32, 3))
    scaled = tf_keras.applications.mobilenet_v2.preprocess_input(ls.RandomFlip()(image))
    pooled = ls.GlobalAveragePooling2D()(base(scaled, training=False))
    old = tf_keras.Model(image, ls.Dense(2, name="head")(ls.Dropout(0.2)(pooled)))
    new = from_keras2(old)
    assert_equal_outputs(old, new)
    nested = new.get_layer(base.name)
    assert isinstance(nested, keras.Model)
    assert not nested.trainable
    assert [layer.name for layer in nested.layers] == [layer.name for layer in base.layers]
    assert len(new.trainable_weights) == len(old.trainable_weights) == 2


def test_slashes_in_names_become_underscores():
    import tf_keras

    old = tf_keras.applications.MobileNetV3Small((64, 64, 3), weights=None, classes=3, alpha=0.75)
    new = from_keras2(old)
    assert_equal_outputs(old, new)
    names = {layer.name for layer in old.layers if "Lambda" not in type(layer).__name__}
    assert "expanded_conv/depthwise" in names
    assert {name.replace("/", "_") for name in names} == {layer.name for layer in new.layers}


def test_trainable_flags_of_nested_layers():
    ls = layers()
    inner = sequential((3,), ls.Dense(4, name="thawed"), ls.Dense(4, name="frozen"), name="inner")
    inner.get_layer("frozen").trainable = False
    outer = ls.Input((3,))
    old = model(outer, ls.Dense(2, name="off")(inner(outer)))
    old.get_layer("off").trainable = False
    new = from_keras2(old)
    flags = {layer.name: layer.trainable for layer in new._flatten_layers(include_self=False)}
    assert {name: flags[name] for name in ("inner", "thawed", "frozen", "off")} == {
        "inner": True,
        "thawed": True,
        "frozen": False,
        "off": False,
    }
    inner.trainable = False
    assert not from_keras2(old).trainable_weights


def test_the_result_saves_and_loads_without_edgeprune(tmp_path):
    import keras

    ls = layers()
    image = ls.Input((8, 8, 3))
    old = model(image, ls.Flatten()(ls.Conv2D(2, 3)(image))[:, 1:4] * 2.0)
    new = from_keras2(old)
    assert not new.compiled
    new.save(tmp_path / "new.keras")
    assert_equal_outputs(old, keras.models.load_model(tmp_path / "new.keras"))


def arithmetic(x, tf):
    x = 1.0 - (x * 2.0 + 1.0) / 3.0
    return tf.maximum(-x, x**2) - tf.minimum(tf.abs(x), tf.constant([1.0, 2.0, 3.0]))


def shapes(x, tf):
    x = tf.concat([x, x], -1)
    x = tf.transpose(tf.reshape(x, (-1, 16, 6)), [0, 2, 1])
    x = tf.squeeze(tf.expand_dims(x, 1), 1)
    x = tf.stack([x, x], axis=2)
    return tf.pad(x[:, 1:-1, 0, ::2], [[0, 0], [1, 0], [0, 2]])


def reductions(x, tf):
    y = tf.reduce_mean(x, axis=[1, 2], keepdims=True) + tf.reduce_max(x, 3, keepdims=True)
    return tf.reduce_sum(y, axis=-1) - tf.reduce_min(x, axis=3)


def functions(x, tf):
    x = tf.sqrt(tf.square(tf.nn.relu(x))) + tf.sigmoid(x) * tf.tanh(x) + tf.exp(-tf.math.softplus(x))
    x = tf.nn.silu(x) + tf.nn.gelu(x, approximate=True) + tf.nn.leaky_relu(x, alpha=0.1) + tf.nn.elu(x) + tf.nn.selu(x)
    x = tf.math.log(tf.abs(x) + 1.0) + tf.math.rsqrt(tf.nn.relu6(x) + 1.0) + tf.nn.softsign(x)
    return tf.nn.softmax(tf.clip_by_value(x, 0.1, 2.0), axis=1)


def images(x, tf):
    x = tf.image.resize(x, (5, 7)) + tf.image.resize(x, [5, 7], method="nearest")
    return tf.cast(tf.cast(tf.matmul(x, tf.ones((3, 2))), tf.float16), "float32")


@pytest.mark.parametrize("function", [arithmetic, shapes, reductions, functions, images])
@pytest.mark.parametrize("saved", [False, True])
def test_tensorflow_functions(function, saved, tmp_path):
    import tensorflow as tf

    image = layers().Input((4, 4, 3))
    old = model(image, function(image, tf))
    if saved:  # a file holds the arguments by name
        old.save(tmp_path / "ops.h5")
    new = from_keras2(tmp_path / "ops.h5" if saved else old)
    assert_equal_outputs(old, new)
    named = {layer.name for layer in old.layers}
    assert named == {operation.name for operation in new.operations}


_ENDS = st.none() | st.integers(-5, 5)
_SLICES = st.builds(slice, _ENDS, _ENDS, st.none() | st.integers(1, 3) | st.integers(-2, -1))


@settings(max_examples=25, deadline=None)
@given(entries=st.lists(st.integers(-3, 2) | _SLICES, min_size=1, max_size=2), tail=st.just(...) | st.none())
def test_any_slicing(entries, tail):
    import tf_keras

    index = (slice(None), *entries, *([] if tail is None else [tail]))
    image = layers().Input((3, 3, 2))
    new = from_keras2(tf_keras.Model(image, image[index]))
    values = np.random.default_rng(0).normal(size=(2, 3, 3, 2)).astype("float32")
    np.testing.assert_array_equal(new(values), values[index])


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda x, tf: tf.nn.l2_normalize(x, axis=1), "calls tf.math.l2_normalize, which has no translation"),
        (lambda x, tf: tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], mode="REFLECT"), "mode=REFLECT"),
        (lambda x, tf: tf.image.resize(x, (8, 8), antialias=True), "antialias"),
        (lambda x, tf: tf.reshape(x, tf.shape(x)), "tf.compat.v1.shape"),
        (lambda x, tf: x[tf.cast(x[0, 0, 0, 0], tf.int32)], "an argument that depends on the input"),
    ],
)
def test_functions_without_an_equal_are_named(function, said):
    import tensorflow as tf

    image = layers().Input((4, 4, 3), batch_size=4)
    old = model(image, function(image, tf))
    with pytest.raises(InputError) as caught:
        from_keras2(old)
    assert said in str(caught.value)
    assert 'layer "tf.' in str(caught.value)


def test_subclassed_and_unbuilt_models_are_refused():
    import tf_keras

    class Handmade(tf_keras.Model):
        def call(self, inputs):
            return inputs

    with pytest.raises(InputError, match=r"\(Handmade\) is a subclassed model"):
        from_keras2(Handmade())
    with pytest.raises(InputError, match="is not built"):
        from_keras2(tf_keras.Sequential([tf_keras.layers.Dense(2)]))


def test_what_is_no_keras_2_model_is_refused():
    import keras

    with pytest.raises(InputError, match="is a Keras 3 model already"):
        from_keras2(keras.Sequential([keras.Input((2,))], name="new"))
    with pytest.raises(InputError, match="got dict"):
        from_keras2({})


def test_other_outputs_are_seen():
    old = sequential((4,), layers().Dense(3))
    new = from_keras2(old)
    kernel = new.layers[0].kernel
    kernel.assign(kernel + 0.01)
    with pytest.raises(InputError, match="other values at output"):
        check_equal(old, new)


def test_a_model_that_is_random_itself_is_refused():
    ls = layers()
    image = ls.Input((40,))
    with pytest.raises(InputError, match='random values at output "noisy"'):
        from_keras2(model(image, ls.Dropout(0.5, name="noisy")(image, training=True)))


def test_open_sizes_and_whole_numbers_in_float_inputs():
    ls = layers()
    old = sequential((None, None, 3), ls.Conv2D(2, 3), ls.GlobalMaxPooling2D())
    assert from_keras2(old).input_shape == (None, None, None, 3)
    numbers = sequential((7,), ls.Embedding(5, 4))  # its input is float32, and -1 is no index
    tokens = np.random.default_rng(0).integers(0, 5, (2, 7)).astype("float32")
    np.testing.assert_array_equal(from_keras2(numbers)(tokens), numbers(tokens))


def test_the_model_given_is_left_as_it_was():
    old = sequential((4,), layers().Dense(3, activation="hard_sigmoid"))
    before = [weight.copy() for weight in old.get_weights()]
    nodes = [len(layer._inbound_nodes) for layer in old.layers]
    from_keras2(old)
    for first, second in zip(before, old.get_weights(), strict=True):
        np.testing.assert_array_equal(first, second)
    assert nodes == [len(layer._inbound_nodes) for layer in old.layers]
    assert inputs_for(old).shape == (3, 4)
