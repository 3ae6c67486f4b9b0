"""What a smaller model keeps of the model it came from, and which models are refused or frozen."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from graph_oracle import assert_same, check, frozen_reasons, group_sizes, outputs, prune, random_inputs, randomize
from keras import layers, ops

from edgeprune.errors import InputError
from edgeprune.graph.trace import trace

pytestmark = pytest.mark.keras


@keras.saving.register_keras_serializable("edgeprune_tests")
class Doubled(layers.Layer):
    """A layer edgeprune knows nothing about."""

    def call(self, x: Any) -> Any:
        return 2.0 * x


@keras.saving.register_keras_serializable("edgeprune_tests")
class NormalizedDense(layers.Dense):
    """A Dense that does something else than Dense."""

    def call(self, x: Any) -> Any:
        return super().call(x) / ops.max(ops.abs(x))


def digest(model: Any) -> str:
    sha = hashlib.sha256()
    for variable in model.variables:
        sha.update(np.ascontiguousarray(variable).tobytes())
    return sha.hexdigest()


def small_cnn() -> Any:
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(8, 3, name="a", use_bias=False)(image)
    x = layers.ReLU()(layers.BatchNormalization(name="norm")(x))
    x = layers.Dropout(0.2)(layers.Flatten()(layers.MaxPooling2D()(x)))
    x = layers.Dense(6, activation="relu", name="hidden")(x)
    return keras.Model(image, layers.Dense(4, activation="softmax", name="scores")(x), name="cnn")


def test_the_model_itself_is_not_changed() -> None:
    model = small_cnn()
    model.compile("adam", "sparse_categorical_crossentropy")
    randomize(model)
    before, config = digest(model), model.to_json()
    pruned = prune(model)
    pruned.smaller.layers[1].kernel.assign_add(np.ones(pruned.smaller.layers[1].kernel.shape))
    assert digest(model) == before
    assert model.to_json() == config


def test_names_inputs_and_outputs_stay() -> None:
    model = small_cnn()
    smaller = check(model).smaller
    assert smaller.name == "cnn"
    assert [layer.name for layer in smaller.layers] == [layer.name for layer in model.layers]
    assert smaller.input_shape == model.input_shape
    assert smaller.output_shape == model.output_shape
    assert smaller.inputs[0].name == "image"


def test_one_output_tensor_that_also_goes_on_keeps_its_channels() -> None:
    image = keras.Input((6, 6, 3))
    features = layers.Conv2D(5, 3, name="a")(image)
    scores = layers.Dense(2, name="head")(layers.Flatten()(layers.Conv2D(4, 3, name="b")(features)))
    model = keras.Model(image, [features, scores])
    assert group_sizes(model) == {"b": 4}
    assert check(model).smaller.output_shape == model.output_shape


def test_an_input_may_be_an_output() -> None:
    image = keras.Input((6, 6, 3))
    model = keras.Model(image, [image, layers.Dense(2)(layers.Flatten()(layers.Conv2D(5, 3, name="a")(image)))])
    assert group_sizes(model) == {"a": 5}
    check(model)


def test_dictionaries_of_inputs_and_outputs() -> None:
    left, right = keras.Input((6,), name="left"), keras.Input((4,), name="right")
    x = layers.Concatenate()([layers.Dense(5, name="a")(left), layers.Dense(7, name="b")(right)])
    x = layers.Dense(8, name="c")(x)
    model = keras.Model(
        {"left": left, "right": right}, {"one": layers.Dense(2, name="one")(x), "two": layers.Dense(3, name="two")(x)}
    )
    assert group_sizes(model) == {"a": 5, "b": 7, "c": 8}
    smaller = check(model).smaller
    found = smaller({"left": np.ones((1, 6)), "right": np.ones((1, 4))})
    assert {name: value.shape for name, value in found.items()} == {"one": (1, 2), "two": (1, 3)}


def test_a_shared_layer_is_pruned_once() -> None:
    left, right = keras.Input((6,)), keras.Input((6,))
    shared = layers.Dense(5, name="shared")
    x = layers.Subtract()([shared(left), shared(right)])
    model = keras.Model([left, right], layers.Dense(2)(x))
    assert group_sizes(model) == {"shared": 5}
    check(model)


def test_a_layer_shared_over_two_producers_ties_them() -> None:
    values = keras.Input((6,))
    shared = layers.Dense(4, name="shared")
    x = layers.Concatenate()([shared(layers.Dense(5, name="b")(values)), shared(layers.Dense(5, name="a")(values))])
    model = keras.Model(values, layers.Dense(2)(x))
    assert group_sizes(model) == {"a": 5, "shared": 4}
    check(model)


def test_a_layer_applied_to_its_own_output() -> None:
    values = keras.Input((6,))
    again = layers.Dense(5, activation="tanh", name="again")
    x = again(again(layers.Dense(5, name="a")(values)))
    model = keras.Model(values, layers.Dense(2)(x))
    assert group_sizes(model) == {"a": 5}
    check(model)


def test_a_shared_layer_of_which_one_call_is_frozen() -> None:
    values = keras.Input((6,))
    shared = layers.Dense(5, name="shared")
    x = layers.Dense(5, name="a")(values)
    y = Doubled(name="unknown")(layers.Dense(5, name="b")(values))
    model = keras.Model(values, layers.Dense(2)(layers.Concatenate()([shared(x), shared(y)])))
    # a is tied to b through what shared reads, and b must stay
    assert group_sizes(model) == {"shared": 5}
    check(model)


@pytest.mark.parametrize("channels_first_call", [False, True])
def test_a_shared_layer_that_meets_channels_on_another_axis_keeps_all(channels_first_call: bool) -> None:
    values = keras.Input((5, 3))
    shared = layers.LayerNormalization(name="shared")
    x = layers.Dense(5, name="a")(values)  # 5 steps of 5 channels
    y = layers.Permute((2, 1))(layers.Dense(5, name="b")(values))  # 5 channels of 5 steps
    calls = [y, x] if channels_first_call else [x, y]
    made = [shared(tensor) for tensor in calls]
    model = keras.Model(values, layers.Dense(2)(layers.Flatten()(layers.Concatenate()(made))))
    assert "a" not in group_sizes(model)
    check(model)


def nested_block(name: str) -> Any:
    inner = keras.Input((6, 6, 4))
    x = layers.Conv2D(4, 3, padding="same", name="inside")(inner)
    return keras.Model(inner, layers.Add()([inner, layers.ReLU()(x)]), name=name)


def test_a_nested_model_called_twice() -> None:
    image = keras.Input((6, 6, 3))
    block = nested_block("block")
    x = block(block(layers.Conv2D(4, 3, padding="same", name="a")(image)))
    model = keras.Model(image, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))
    assert group_sizes(model) == {"a": 4}
    smaller = check(model).smaller
    assert isinstance(smaller.get_layer("block"), keras.Model)


def test_models_nested_twice_and_sequential() -> None:
    inner = keras.Sequential([keras.Input((6, 6, 5)), layers.Conv2D(6, 1, name="deep"), layers.ReLU()], name="inner")
    outer_in = keras.Input((6, 6, 3))
    outer = keras.Model(outer_in, inner(layers.Conv2D(5, 1, name="a")(outer_in)), name="outer")
    model = keras.Sequential([keras.Input((6, 6, 3)), outer, layers.Flatten(), layers.Dense(2)], name="whole")
    assert group_sizes(model) == {"outer/a": 5, "outer/inner/deep": 6}
    smaller = check(model).smaller
    assert isinstance(smaller, keras.Sequential)
    assert isinstance(smaller.get_layer("outer").get_layer("inner"), keras.Sequential)


def test_a_nested_model_that_is_open_about_its_size() -> None:
    inner = keras.Input((None, None, 4))
    x = layers.Conv2D(6, 3, strides=2, name="inside")(inner)
    body = keras.Model(inner, layers.Conv2D(5, 3, padding="same", name="last")(x), name="body")
    image = keras.Input((11, 11, 3))
    x = layers.Flatten()(body(layers.Conv2D(4, 3, name="a")(image)))
    model = keras.Model(image, layers.Dense(2)(x))
    # 11 -> 9 -> 4: Flatten knows its 4 x 4 positions although the nested model does not
    assert group_sizes(model) == {"a": 4, "body/inside": 6, "body/last": 5}
    smaller = check(model).smaller
    assert smaller.get_layer("body").input_shape[1:3] == (None, None)


def test_one_nested_model_called_on_two_sizes() -> None:
    inner = keras.Input((None, None, 3))
    body = keras.Model(inner, layers.Conv2D(6, 3, name="inside")(inner), name="body")
    large, small = keras.Input((9, 9, 3)), keras.Input((5, 5, 3))
    pooled = [layers.GlobalAveragePooling2D()(body(x)) for x in (large, small)]
    model = keras.Model([large, small], layers.Dense(2)(layers.Concatenate()(pooled)))
    assert group_sizes(model) == {"body/inside": 6}
    check(model)


def test_an_unknown_layer_freezes_what_touches_it_by_name() -> None:
    image = keras.Input((6, 6, 3))
    x = Doubled(name="mystery")(layers.Conv2D(5, 3, name="a")(image))
    model = keras.Model(image, layers.Dense(2)(layers.Flatten()(layers.Conv2D(4, 3, name="b")(x))))
    assert group_sizes(model) == {"b": 4}
    assert frozen_reasons(model) == {"mystery": "no rule for Doubled"}
    check(model)


def test_a_subclass_of_a_known_layer_freezes() -> None:
    values = keras.Input((6,))
    x = NormalizedDense(5, name="sub")(layers.Dense(4, name="a")(values))
    model = keras.Model(values, layers.Dense(2)(layers.Dense(3, name="b")(x)))
    assert group_sizes(model) == {"b": 3}
    assert frozen_reasons(model) == {"sub": "no rule for NormalizedDense"}
    check(model)


def test_a_subclassed_model_is_refused_in_one_line() -> None:
    class Mine(keras.Model):
        def call(self, x: Any) -> Any:
            return x

    with pytest.raises(InputError, match="not a functional or built Sequential model") as caught:
        trace(Mine(name="mine"))
    assert "\n" not in str(caught.value)


def test_a_nested_subclassed_model_freezes() -> None:
    @keras.saving.register_keras_serializable("edgeprune_tests")
    class Part(keras.Model):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.dense = layers.Dense(4)

        def call(self, x: Any) -> Any:
            return self.dense(x)

    values = keras.Input((6,))
    x = Part(name="part")(layers.Dense(5, name="a")(values))
    model = keras.Model(values, layers.Dense(2)(layers.Dense(3, name="b")(x)))
    assert group_sizes(model) == {"b": 3}
    check(model)


def test_channels_first() -> None:
    # Wide enough: Keras 3.15 adds the bias along the width where that is as long as the channels.
    image = keras.Input((3, 12, 12))
    x = layers.Conv2D(5, 3, data_format="channels_first", name="a")(image)
    x = layers.Conv2D(4, 3, data_format="channels_first", name="b")(layers.BatchNormalization(axis=1)(x))
    x = layers.GlobalAveragePooling2D(data_format="channels_first")(x)
    model = keras.Model(image, layers.Dense(2)(x))
    assert group_sizes(model) == {"a": 5, "b": 4}
    check(model)


def test_call_arguments_are_kept() -> None:
    image = keras.Input((6, 6, 3))
    x = layers.BatchNormalization(name="norm")(layers.Conv2D(5, 3, name="a")(image), training=True)
    smaller = prune(keras.Model(image, layers.Dense(2)(layers.Flatten()(x)))).smaller
    inputs = random_inputs(smaller)
    # In training mode the moving statistics don't matter.
    before = np.asarray(smaller(inputs))
    variance = smaller.get_layer("norm").moving_variance
    variance.assign(np.full(variance.shape, 1e6))
    assert_same([before], [np.asarray(smaller(inputs))])


def test_groups_have_unique_names() -> None:
    image = keras.Input((6, 6, 3))
    x = layers.ReLU()(layers.ReLU()(layers.Conv2D(6, 1, name="a")(image)))
    # a's channels form two groups: 0-3 go with b's, 4-5 with c's
    joined = layers.Concatenate()([layers.Conv2D(4, 1, name="b")(image), layers.Conv2D(2, 1, name="c")(image)])
    x = layers.Conv2D(3, 1, name="a#2")(layers.Add()([x, joined]))
    model = keras.Model(image, layers.Dense(2)(layers.Flatten()(x)))
    assert sorted(group_sizes(model).values()) == [2, 3, 4]
    check(model)


def test_channels_that_only_some_tensors_hold_are_groups_of_their_own() -> None:
    image = keras.Input((6, 6, 3))
    x = layers.Conv2D(8, 3, name="a")(image)
    # b reads all 8, but the tensor after the slice holds only the first 3
    x = layers.Concatenate()([layers.ReLU()(x[..., :3]), x[..., 3:]])
    model = keras.Model(image, layers.Dense(2)(layers.GlobalAveragePooling2D()(layers.Conv2D(4, 1, name="b")(x))))
    assert group_sizes(model) == {"a": 3, "a#2": 5, "b": 4}
    check(model)


def test_trainable_flags_stay() -> None:
    model = small_cnn()
    model.get_layer("a").trainable = False
    smaller = check(model).smaller
    flags = {layer.name: layer.trainable for layer in smaller.layers}
    assert flags == {layer.name: layer.trainable for layer in model.layers}
    assert not flags["a"]
    assert flags["norm"]


def test_trainable_flags_of_nested_models_stay() -> None:
    block = nested_block("block")
    block.trainable = False
    image = keras.Input((6, 6, 4))
    model = keras.Model(image, layers.Dense(2)(layers.Flatten()(block(image))))
    smaller = check(model).smaller
    assert not smaller.get_layer("block").trainable
    assert not smaller.get_layer("block").get_layer("inside").trainable
    assert len(smaller.trainable_variables) == len(model.trainable_variables) == 2


def test_the_compiled_state_stays() -> None:
    model = small_cnn()
    schedule = keras.optimizers.schedules.ExponentialDecay(0.05, 10, 0.9)
    model.compile(
        keras.optimizers.SGD(schedule, momentum=0.8, clipnorm=2.0),
        keras.losses.SparseCategoricalCrossentropy(),
        metrics=["accuracy", keras.metrics.SparseTopKCategoricalAccuracy(2, name="top2")],
    )
    smaller = check(model).smaller
    assert smaller.compiled
    assert smaller.optimizer.get_config() == model.optimizer.get_config()
    assert smaller.optimizer is not model.optimizer
    assert isinstance(smaller.loss, keras.losses.SparseCategoricalCrossentropy)
    x, y = np.random.default_rng(0).normal(size=(8, 8, 8, 3)), np.arange(8) % 4
    assert smaller.evaluate(x, y, verbose=0, return_dict=True).keys() == {"loss", "accuracy", "top2"}


def test_an_uncompiled_model_stays_uncompiled() -> None:
    assert not check(small_cnn()).smaller.compiled


def test_the_smaller_model_trains_one_step_saves_and_loads(tmp_path: Path) -> None:
    model = small_cnn()
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    smaller = check(model).smaller
    x, y = np.random.default_rng(0).normal(size=(16, 8, 8, 3)).astype(np.float32), np.arange(16) % 4
    before = digest(smaller)
    assert np.isfinite(smaller.train_on_batch(x, y))
    assert digest(smaller) != before
    smaller.save(tmp_path / "smaller.keras")
    loaded = keras.saving.load_model(tmp_path / "smaller.keras")
    assert_same(outputs(smaller, x), outputs(loaded, x), tolerance=1e-6)
    assert group_sizes(loaded) == group_sizes(smaller)


def test_pruning_again() -> None:
    once = check(small_cnn()).smaller
    twice = check(once).smaller
    assert twice.count_params() < once.count_params()


class Hidden(layers.Layer):
    """A layer that can't be made again from its config."""

    def __init__(self, size: int, secret: object) -> None:
        super().__init__(name="hidden")
        self.size, self.secret = size, secret

    def build(self, shape: Any) -> None:
        if self.size:
            self.bias = self.add_weight(shape=(self.size,))

    def call(self, x: Any) -> Any:
        return x + self.bias if self.size else x

    def get_config(self) -> dict[str, Any]:
        return super().get_config()


def test_a_layer_with_weights_but_without_a_usable_config_is_named() -> None:
    values = keras.Input((6,))
    model = keras.Model(values, Hidden(4, object())(layers.Dense(4)(values)))
    with pytest.raises(InputError, match='the layer "hidden" \\(Hidden\\) can\'t be made again'):
        prune(model)


@pytest.mark.parametrize("layer", [lambda: Hidden(0, object()), lambda: layers.Lambda(lambda x: 2.0 * x, (5,))])
def test_layers_without_weights_that_have_no_usable_config_are_used_again(layer: Any) -> None:
    values = keras.Input((6,))
    x = layer()(layers.Dense(5, name="a")(values))
    model = keras.Model(values, layers.Dense(2)(layers.Dense(4, name="b")(x)))
    before = outputs(model, np.ones((1, 6), np.float32))
    assert group_sizes(model) == {"b": 4}
    assert_same(before, outputs(model, np.ones((1, 6), np.float32)))
    check(model)


def test_dropout_whose_noise_names_the_channels_freezes_them() -> None:
    image = keras.Input((6, 6, 3))
    x = layers.Dropout(0.5, noise_shape=(None, 1, 1, 5), name="drop")(layers.Conv2D(5, 3, name="a")(image))
    x = layers.Dropout(0.5, noise_shape=(None, 4, 4, 1))(layers.Conv2D(4, 1, name="b")(x))
    model = keras.Model(image, layers.Dense(2)(layers.Flatten()(x)))
    assert group_sizes(model) == {"b": 4}
    assert list(frozen_reasons(model)) == ["drop"]
    assert prune(model).smaller(np.ones((2, 6, 6, 3)), training=True).shape == (2, 2)


def test_a_nested_model_with_a_dictionary_of_inputs() -> None:
    left, right = keras.Input((4,), name="z_left"), keras.Input((5,), name="a_right")
    x = layers.Concatenate()([layers.Dense(3, name="l")(left), layers.Dense(2, name="r")(right)])
    inner = keras.Model({"z": left, "a": right}, {"sum": layers.Dense(6, name="s")(x), "raw": x}, name="inner")
    values = keras.Input((7,))
    found = inner({"z": layers.Dense(4, name="four")(values), "a": layers.Dense(5, name="five")(values)})
    model = keras.Model(values, layers.Dense(2)(layers.Concatenate()([found["sum"], found["raw"]])))
    assert group_sizes(model) == {"four": 4, "five": 5, "inner/l": 3, "inner/r": 2, "inner/s": 6}
    check(model)


def test_a_model_with_its_own_training_step_keeps_it() -> None:
    @keras.saving.register_keras_serializable("edgeprune_tests")
    class Counting(keras.Model):
        steps = 0

        def train_step(self, data: Any) -> Any:
            type(self).steps += 1
            return super().train_step(data)

    values = keras.Input((6,))
    model = Counting(values, layers.Dense(2)(layers.Dense(5, name="a")(values)))
    model.compile("sgd", "mse", run_eagerly=True)
    smaller = check(model).smaller
    assert type(smaller) is Counting
    smaller.train_on_batch(np.ones((2, 6)), np.ones((2, 2)))
    assert Counting.steps == 1


def test_mixed_precision_policies_stay() -> None:
    values = keras.Input((6,))
    x = layers.Dense(5, dtype="mixed_float16", name="a")(values)
    model = keras.Model(values, layers.Dense(2, dtype="float32")(x))
    smaller = prune(model).smaller
    assert smaller.get_layer("a").dtype_policy.name == "mixed_float16"
