"""Reading a model into a flat list and building it again."""

from __future__ import annotations

import numpy as np
import pytest
from pass_oracle import assert_same, images, randomize

from edgeprune.errors import InputError
from edgeprune.export.passes.layer_graph import read_model

pytestmark = pytest.mark.keras


def nested():
    import keras

    layers = keras.layers
    inner = keras.Sequential([keras.Input((6, 6, 4)), layers.Conv2D(4, 3, padding="same", name="conv")], name="inner")
    image = keras.Input((6, 6, 3), name="image")
    x = layers.Conv2D(4, 1, name="conv")(image)
    x = inner(inner(x))  # shared, and its layer has the name of another one
    return keras.Model(image, layers.GlobalAveragePooling2D(name="pooled")(x * 2.0 + 1.0), name="outer")


def test_nested_models_are_flattened_and_shared_layers_stay_shared():
    model = randomize(nested())
    rebuilt = read_model(model).build()
    assert_same(model, rebuilt)
    assert rebuilt.name == "outer"
    assert [layer.name for layer in rebuilt.layers if "conv" in layer.name] == ["conv", "conv_1"]
    assert rebuilt.count_params() == model.count_params()


def test_the_model_that_was_read_is_left_alone():
    model = randomize(nested())
    links = [len(layer._outbound_nodes) for layer in model.layers]
    before = [np.array(weight) for weight in model.get_weights()]
    rebuilt = read_model(model).build()
    for variable in rebuilt.weights:
        variable.assign(np.zeros(variable.shape))
    assert [len(layer._outbound_nodes) for layer in model.layers] == links
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_trainable_flags_and_structures_of_inputs_and_outputs_stay():
    import keras

    layers = keras.layers
    given = {"left": keras.Input((4,), name="left"), "right": keras.Input((4,), name="right")}
    first = layers.Dense(3, name="first")
    first.trainable = False
    joined = layers.Concatenate()([first(given["left"]), given["right"]])
    model = randomize(keras.Model(given, {"sum": layers.Dense(2, name="sum")(joined), "left": given["left"]}))
    rebuilt = read_model(model).build()
    inputs = {name: np.random.default_rng(0).normal(size=(2, 4)).astype(np.float32) for name in given}
    assert rebuilt.get_layer("first").trainable is False
    assert rebuilt.get_layer("sum").trainable is True
    old, new = model(inputs), rebuilt(inputs)
    assert set(new) == {"sum", "left"}
    np.testing.assert_allclose(new["sum"], old["sum"], rtol=1e-6)


def test_a_nested_model_called_on_another_size():
    import keras

    layers = keras.layers
    inner = keras.Sequential([keras.Input((None, None, 3)), layers.Conv2D(4, 3, strides=2, padding="same")])
    image = keras.Input((8, 8, 3))
    model = randomize(keras.Model(image, layers.Flatten()(inner(image))))
    graph = read_model(model)
    assert graph.calls[0].output.shape == (None, 4, 4, 4)
    assert_same(model, graph.build())


def test_a_replaced_last_layer_keeps_the_output_name():
    import keras

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="scores")])
    graph = read_model(randomize(model))
    new = keras.layers.Dense(3, name="other")
    output = graph.insert(graph.calls[0], new, graph.inputs[0])
    new.set_weights(model.get_weights())
    graph.replace(graph.calls[1], output)
    rebuilt = graph.build()
    assert rebuilt.output_names == ["scores"]
    np.testing.assert_allclose(rebuilt(images(model)), model(images(model)), rtol=1e-6)


def test_what_was_computed_for_a_removed_call_alone_goes_with_it():
    model = nested()
    graph = read_model(model)
    graph.replace(graph.calls[-1], graph.insert(graph.calls[0], lambda x: x[:, 0, 0, :], graph.inputs[0]))
    assert len(graph.calls) == 1


def test_a_subclassed_model_is_refused():
    import keras

    class Own(keras.Model):
        def call(self, inputs):
            return inputs

    with pytest.raises(InputError, match="not a functional or built Sequential"):
        read_model(Own(name="own"))


def test_a_layer_without_a_config_is_named():
    import keras

    class Secret(keras.layers.Layer):
        def __init__(self, size, **kwargs):
            super().__init__(**kwargs)
            self.kernel = self.add_weight(shape=(size,))

        def call(self, inputs):
            return inputs * self.kernel

        def get_config(self):
            return {"name": self.name}

    model = keras.Sequential([keras.Input((4,)), Secret(4, name="secret")])
    with pytest.raises(InputError, match='"secret".*get_config'):
        read_model(model).build()
