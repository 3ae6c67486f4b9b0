"""name_global_pooling, write_as_depthwise, end_by_depth_to_space, and what keep_pooled_rank does with Dense layers."""

from __future__ import annotations

import pytest
from pass_oracle import assert_same, of_class, randomize, reasons, run_alone

from edgeprune.export.passes import end_by_depth_to_space, keep_pooled_rank, name_global_pooling, write_as_depthwise
from edgeprune.export.passes.apply import apply_passes

pytestmark = pytest.mark.keras


def model_of(body, size=(12, 12, 3)):
    """body of 8 channels behind a stem: (6, 6, 8) for 12x12."""
    import keras

    image = keras.Input(size)
    x = keras.layers.Conv2D(8, 3, strides=2, padding="same", activation="relu", name="stem")(image)
    return randomize(keras.Model(image, body(x)))


def pooling(kind):
    import keras

    layers, ops = keras.layers, keras.ops
    return {
        "ops.mean": lambda x: ops.mean(x, axis=(1, 2)),
        "ops.mean, from behind, keepdims": lambda x: ops.mean(x, axis=(-2, -3), keepdims=True),
        "ops.max": lambda x: ops.max(x, axis=[1, 2]),
        "average of the map": lambda x: layers.Flatten()(layers.AveragePooling2D(6)(x)),
        "average of the map, same": lambda x: layers.Flatten()(layers.AveragePooling2D(6, padding="same")(x)),
        "maximum of the map": lambda x: layers.Flatten()(layers.MaxPooling2D((6, 6))(x)),
        "mean of a row": lambda x: ops.mean(x, axis=2),
        "mean of all": lambda x: ops.mean(x, axis=(1, 2, 3)),
        "average of a part": lambda x: layers.Flatten()(layers.AveragePooling2D(5)(x)),
        "average with steps": lambda x: layers.Flatten()(layers.AveragePooling2D(6, strides=1, padding="same")(x)),
    }[kind]


@pytest.mark.parametrize(
    ("kind", "layer"),
    [
        ("ops.mean", "GlobalAveragePooling2D"),
        ("ops.mean, from behind, keepdims", "GlobalAveragePooling2D"),
        ("ops.max", "GlobalMaxPooling2D"),
        ("average of the map", "GlobalAveragePooling2D"),
        ("average of the map, same", "GlobalAveragePooling2D"),
        ("maximum of the map", "GlobalMaxPooling2D"),
        ("mean of a row", None),
        ("mean of all", None),
        ("average of a part", None),
        ("average with steps", None),
    ],
)
def test_global_pooling_is_named(kind, layer):
    model = model_of(pooling(kind))
    rewritten, report = run_alone(name_global_pooling, model)
    assert len(report.changed) == (layer is not None)
    assert layer is None or len(of_class(rewritten, layer)) == 1
    assert_same(model, rewritten)


@pytest.mark.parametrize("size", [(12, 12, 3), (12, 14, 3), (10, 12, 3), (9, 10, 3)])
def test_a_1x1_convolution_with_stride_2(size):
    import keras

    model = model_of(lambda x: keras.layers.Conv2D(5, 1, strides=2, activation="relu", name="short")(x), size)
    rewritten, report = run_alone(write_as_depthwise, model)
    assert report.changed == ("short",)
    assert rewritten.get_layer("short").strides == (1, 1)
    assert not rewritten.get_layer("short_step").trainable
    assert_same(model, rewritten)


def test_pooling_by_two():
    import keras

    model = model_of(lambda x: keras.layers.AveragePooling2D(2, name="pool")(x))
    rewritten, report = run_alone(write_as_depthwise, model)
    assert report.changed == ("pool",)
    assert of_class(rewritten, "AveragePooling2D") == []
    assert_same(model, rewritten)
    model = model_of(lambda x: keras.layers.AveragePooling2D(2, name="pool")(x), (10, 10, 3))
    _, report = run_alone(write_as_depthwise, model)
    assert reasons(report) == {"pool": "it pools 5x5 values by 2, an odd size; it would drop or add a border"}


@pytest.mark.parametrize("channels", [8, 6, 1])
def test_maps_leave_through_depth_to_space(channels):
    import keras

    model = model_of(lambda x: keras.layers.Conv2D(channels, 1, name="maps")(x))
    rewritten, report = run_alone(end_by_depth_to_space, model)
    assert report.changed == ("maps",)
    assert_same(model, rewritten)
    # without changing a number, not even in the last bit
    assert_same(model, rewritten, tolerance=0)


def test_maps_that_are_mirrored_come_out_the_right_way():
    import keras

    model = model_of(lambda x: [keras.layers.Conv2D(6, 1, name="maps")(x), keras.layers.GlobalMaxPooling2D()(x)])
    rewritten, reports = apply_passes(model, finetuned=False)
    changed = {report.name: report.changed for report in reports}
    assert changed["mirror_image"] == ("stem",)
    assert changed["end_by_depth_to_space"] == ("stem", "maps")
    assert changed["recast_stem"] == ()
    assert_same(model, rewritten)


def test_maps_of_a_network_that_stays_dense_are_left_alone():
    import keras

    layers = keras.layers
    model = model_of(lambda x: layers.Conv2D(8, 1, name="maps")(layers.MaxPooling2D(2, name="pool")(x)))
    _, report = run_alone(end_by_depth_to_space, model)
    assert report.changed == ()
    assert reasons(report) == {"maps": '"pool" behind it is a MaxPooling2D, which has no sparse form'}


def gate(reshape, between=None):
    import keras

    layers, ops = keras.layers, keras.ops

    def body(x):
        y = layers.GlobalAveragePooling2D(name="pool")(x)
        y = layers.Dense(8, activation="sigmoid", name="excite")(layers.Dense(2, activation="relu", name="squeeze")(y))
        if between:
            y = between(y)
        shaped = {
            "layer": lambda: layers.Reshape((1, 1, 8))(y),
            "operation": lambda: ops.reshape(y, (-1, 1, 1, 8)),
            "dimensions": lambda: ops.expand_dims(ops.expand_dims(y, 1), 1),
        }[reshape]()
        return layers.Multiply()([x, shaped])

    return body


@pytest.mark.parametrize("reshape", ["layer", "operation", "dimensions"])
def test_gates_of_dense_layers_keep_their_rank(reshape):
    model = model_of(gate(reshape))
    rewritten, report = run_alone(keep_pooled_rank, model)
    assert report.changed == ("pool",)
    assert rewritten.get_layer("squeeze").input.shape == (None, 1, 1, 8)
    assert_same(model, rewritten)


def test_a_gate_that_mixes_values_in_between_stays():
    import keras

    model = model_of(gate("layer", between=keras.layers.Softmax()))
    _, report = run_alone(keep_pooled_rank, model)
    assert report.changed == ()
