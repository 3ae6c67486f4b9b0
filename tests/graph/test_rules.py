"""Every layer family: which groups exist (derived by hand from the definition of the layer), and the oracle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from graph_oracle import check, frozen_reasons, group_sizes
from keras import layers, ops

pytestmark = pytest.mark.keras


def image_model(body: Callable[[Any], Any], size: int = 6, channels: int = 3) -> Any:
    """Input -> body -> pooled -> Dense(3)."""
    image = keras.Input((size, size, channels), name="image")
    x = layers.GlobalAveragePooling2D(name="pool")(body(image))
    return keras.Model(image, layers.Dense(3, name="head")(x))


def conv(filters: int, name: str, **options: Any) -> Any:
    return layers.Conv2D(filters, 3, padding="same", name=name, **options)


def chain(*steps: Any) -> Callable[[Any], Any]:
    def body(x: Any) -> Any:
        for step in steps:
            x = step(x)
        return x

    return body


CASES: dict[str, tuple[Callable[[], Any], dict[str, int]]] = {
    "two convolutions": (lambda: image_model(chain(conv(6, "a"), conv(4, "b"))), {"a": 6, "b": 4}),
    "dilated, no bias": (lambda: image_model(chain(conv(6, "a", dilation_rate=2, use_bias=False))), {"a": 6}),
    "strides and activation": (
        lambda: image_model(chain(conv(6, "a", strides=2, activation="relu"), conv(4, "b", activation="tanh"))),
        {"a": 6, "b": 4},
    ),
    "transposed": (
        lambda: image_model(
            chain(conv(6, "a"), layers.Conv2DTranspose(4, 3, strides=2, padding="same", name="up"), conv(5, "b"))
        ),
        {"a": 6, "up": 4, "b": 5},
    ),
    "depthwise rides on its input": (
        lambda: image_model(chain(conv(6, "a"), layers.DepthwiseConv2D(3, name="d"), conv(4, "b"))),
        {"a": 6, "b": 4},
    ),
    # the second output of every input channel goes with the first one
    "depthwise with multiplier": (
        lambda: image_model(chain(conv(4, "a"), layers.DepthwiseConv2D(3, depth_multiplier=2, name="d"))),
        {"a": 4},
    ),
    "separable with multiplier": (
        lambda: image_model(chain(conv(4, "a"), layers.SeparableConv2D(5, 3, depth_multiplier=2, name="s"))),
        {"a": 4, "s": 5},
    ),
    "batch normalization": (
        lambda: image_model(chain(conv(6, "a"), layers.BatchNormalization(name="n"), layers.ReLU(), conv(4, "b"))),
        {"a": 6, "b": 4},
    ),
    "batch normalization without scale and offset": (
        lambda: image_model(chain(conv(6, "a"), layers.BatchNormalization(scale=False, center=False), layers.ReLU())),
        {"a": 6},
    ),
    "activation layers": (
        lambda: image_model(
            chain(conv(6, "a"), layers.LeakyReLU(), layers.ELU(), layers.Activation("gelu"), layers.ReLU(6.0, 0.1))
        ),
        {"a": 6},
    ),
    "prelu per position": (lambda: image_model(chain(conv(6, "a"), layers.PReLU(name="p"))), {"a": 6}),
    "prelu shared over positions": (
        lambda: image_model(chain(conv(6, "a"), layers.PReLU(shared_axes=[1, 2], name="p"))),
        {"a": 6},
    ),
    "prelu shared over all": (
        lambda: image_model(chain(conv(6, "a"), layers.PReLU(shared_axes=[1, 2, 3], name="p"))),
        {"a": 6},
    ),
    "dropout and noise": (
        lambda: image_model(
            chain(conv(6, "a"), layers.Dropout(0.5), layers.SpatialDropout2D(0.5), layers.GaussianNoise(1.0))
        ),
        {"a": 6},
    ),
    "pooling, padding, cropping, up-sampling": (
        lambda: image_model(
            chain(
                conv(6, "a"),
                layers.ZeroPadding2D(2),
                layers.MaxPooling2D(2),
                layers.UpSampling2D(2),
                layers.Cropping2D(1),
                layers.AveragePooling2D(2),
                conv(4, "b"),
            )
        ),
        {"a": 6, "b": 4},
    ),
    "add": (
        lambda: image_model(lambda x: layers.Add()([conv(6, "a")(x), conv(6, "b")(x)])),
        {"a": 6},
    ),
    "add of the same tensor twice": (
        lambda: image_model(chain(conv(6, "a"), lambda x: layers.Add()([x, x]), conv(4, "b"))),
        {"a": 6, "b": 4},
    ),
    # channels 2i and 2i + 1 of the sum come from channel i on the left
    "depthwise with multiplier, then add": (
        lambda: image_model(
            lambda x: layers.Add()(
                [layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2)(conv(4, "a")(x)), conv(8, "b")(x)]
            )
        ),
        {"a": 4},
    ),
    "residual block": (
        lambda: image_model(
            chain(conv(6, "a"), lambda x: layers.Add()([x, conv(6, "c")(conv(4, "b")(x))]), layers.ReLU())
        ),
        {"a": 6, "b": 4},
    ),
    "squeeze and excite": (
        lambda: image_model(
            chain(
                conv(6, "a"),
                lambda x: layers.Multiply()(
                    [
                        x,
                        layers.Dense(6, activation="sigmoid", name="excite")(
                            layers.Dense(2, activation="relu", name="squeeze")(
                                layers.Reshape((1, 1, 6))(layers.GlobalAveragePooling2D()(x))
                            )
                        ),
                    ]
                ),
            )
        ),
        {"a": 6, "squeeze": 2},
    ),
    # a map with one channel can't be removed
    "spatial attention": (
        lambda: image_model(
            chain(conv(6, "a"), lambda x: layers.Multiply(name="attend")([x, conv(1, "map", activation="sigmoid")(x)]))
        ),
        {"a": 6},
    ),
    "concatenation": (
        lambda: image_model(chain(lambda x: layers.Concatenate()([conv(4, "a")(x), conv(6, "b")(x), x]), conv(5, "c"))),
        {"a": 4, "b": 6, "c": 5},
    ),
    "concatenation of the same tensor twice": (
        lambda: image_model(chain(conv(4, "a"), lambda x: layers.Concatenate()([x, x]), conv(5, "c"))),
        {"a": 4, "c": 5},
    ),
    "concatenation along the height": (
        lambda: image_model(chain(lambda x: layers.Concatenate(axis=1)([conv(4, "a")(x), conv(4, "b")(x)]))),
        {"a": 4},
    ),
    # the first 4 channels of the sum are a's, the other 2 are b's
    "concatenation, then add": (
        lambda: image_model(
            lambda x: layers.Add()([layers.Concatenate()([conv(4, "a")(x), conv(2, "b")(x)]), conv(6, "c")(x)])
        ),
        {"a": 4, "b": 2},
    ),
    "subtract, average, maximum, minimum": (
        lambda: image_model(
            lambda x: layers.Subtract()(
                [
                    layers.Average()([conv(4, "c")(x), conv(4, "d")(x)]),
                    layers.Minimum()([conv(4, "e")(x), layers.Maximum()([conv(4, "a")(x), conv(4, "b")(x)])]),
                ]
            )
        ),
        {"a": 4},
    ),
    "operators": (
        lambda: image_model(chain(conv(4, "a"), lambda x: ops.relu(2.0 * x + x * x - 1.0) / 3.0, conv(5, "b"))),
        {"a": 4, "b": 5},
    ),
    "global max pooling kept as a map": (
        lambda: image_model(chain(conv(4, "a"), layers.GlobalMaxPooling2D(keepdims=True), conv(5, "b"))),
        {"a": 4, "b": 5},
    ),
    "one channel": (lambda: image_model(chain(conv(1, "a"), conv(5, "b"))), {"a": 1, "b": 5}),
    "one channel in and out": (
        lambda: image_model(chain(conv(5, "a"), conv(1, "b"), layers.BatchNormalization()), channels=1),
        {"a": 5, "b": 1},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_groups_and_oracle(name: str) -> None:
    build, wanted = CASES[name]
    model = build()
    assert group_sizes(model) == wanted
    assert frozen_reasons(model).keys() <= {"attend"}
    check(model)


def test_flatten_ties_every_position_of_a_channel() -> None:
    image = keras.Input((4, 4, 3))
    x = layers.Flatten()(layers.Conv2D(5, 3, name="a")(image))  # 2x2x5
    model = keras.Model(image, layers.Dense(3)(layers.Dense(4, name="hidden")(x)))
    assert group_sizes(model) == {"a": 5, "hidden": 4}
    pruned = check(model)
    assert pruned.smaller.get_layer("hidden").kernel.shape[0] == 4 * pruned.smaller.get_layer("a").filters


@pytest.mark.parametrize("target", [(4, 4, 6), (-1, 6), (16, -1), (2, 8, 6)])
def test_reshape_that_keeps_the_channels_last(target: tuple[int, ...]) -> None:
    image = keras.Input((4, 4, 3))
    x = layers.Reshape(target)(layers.Conv2D(6, 3, padding="same", name="a")(image))
    model = keras.Model(image, layers.Dense(3, name="head")(layers.Flatten()(layers.Dense(5, name="b")(x))))
    assert group_sizes(model) == {"a": 6, "b": 5}
    check(model)


def test_reshape_that_splits_the_channels_keeps_a_rectangle() -> None:
    image = keras.Input((4, 4, 3))
    x = layers.Reshape((16, 2, 3), name="split")(layers.Conv2D(6, 3, padding="same", name="a")(image))
    model = keras.Model(image, layers.Dense(3)(layers.Flatten()(x)))
    assert group_sizes(model) in ({"a": 2}, {"a": 3})  # rows or columns of the 2 x 3 channels
    check(model)


def test_dense_on_rank_four() -> None:
    image = keras.Input((4, 4, 3))
    x = layers.Dense(6, activation="relu", name="a")(image)
    model = keras.Model(image, layers.Dense(2, name="head")(layers.Dense(5, name="b")(x)))
    assert group_sizes(model) == {"a": 6, "b": 5}
    check(model)


@pytest.mark.parametrize(
    ("convolution", "shape"),
    [
        (lambda: layers.Conv1D(6, 3, name="a"), (8, 3)),
        (lambda: layers.Conv3D(6, 2, name="a"), (4, 4, 4, 3)),
        (lambda: layers.Conv1DTranspose(6, 3, strides=2, name="a"), (8, 3)),
        (lambda: layers.Conv3DTranspose(6, 2, name="a"), (3, 3, 3, 2)),
        (lambda: layers.SeparableConv1D(6, 3, name="a"), (8, 3)),
    ],
)
def test_other_ranks(convolution: Callable[[], Any], shape: tuple[int, ...]) -> None:
    values = keras.Input(shape)
    pool = {2: layers.GlobalMaxPooling1D, 4: layers.GlobalMaxPooling3D}[len(shape)]
    model = keras.Model(values, layers.Dense(2)(pool()(layers.BatchNormalization()(convolution()(values)))))
    assert group_sizes(model) == {"a": 6}
    check(model)


def test_depthwise_1d() -> None:
    values = keras.Input((8, 3))
    x = layers.DepthwiseConv1D(3, depth_multiplier=2)(layers.Conv1D(6, 1, name="a")(values))
    model = keras.Model(values, layers.Dense(2)(layers.Flatten()(x)))
    assert group_sizes(model) == {"a": 6}
    check(model)


def test_depthwise_on_the_input_stays() -> None:
    model = image_model(chain(layers.DepthwiseConv2D(3, depth_multiplier=2, name="d"), conv(4, "a")))
    assert group_sizes(model) == {"a": 4}
    assert check(model).smaller.get_layer("d").kernel.shape == (3, 3, 3, 2)


def test_softmax_over_channels_freezes_them() -> None:
    model = image_model(chain(conv(6, "a"), layers.Softmax(name="mix"), conv(4, "b")))
    assert group_sizes(model) == {"b": 4}
    assert "softmax" in frozen_reasons(model)["mix"]
    check(model)


def test_macs_of_simple_layers_by_hand() -> None:
    from edgeprune.cost.counts import ExtentTable
    from edgeprune.graph.groups import find_groups
    from edgeprune.graph.network import to_network
    from edgeprune.graph.trace import trace

    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(6, 3, padding="same", strides=2, name="conv")(image)  # 4x4x6
    x = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2, name="depthwise")(x)  # 4x4x12
    x = layers.SeparableConv2D(5, 3, padding="valid", name="separable")(x)  # 2x2x5
    x = layers.Conv2DTranspose(7, 2, strides=2, name="up")(x)  # 4x4x7
    x = layers.Dense(10, name="dense")(x)  # 4x4x10
    model = keras.Model(image, layers.Dense(2, name="head")(layers.GlobalAveragePooling2D()(x)))
    traced = trace(model)
    network = to_network(traced, find_groups(traced))
    macs = ExtentTable([op.macs for op in network.ops]).values(network.widths(network.full))
    by_layer: dict[str, int] = {}
    for op, value in zip(network.ops, macs, strict=True):
        by_layer[op.layer] = by_layer.get(op.layer, 0) + int(value)
    assert {name: value for name, value in by_layer.items() if value} == {
        "conv": 4 * 4 * 3 * 3 * 3 * 6,
        "depthwise": 4 * 4 * 3 * 3 * 12,
        "separable": 2 * 2 * 3 * 3 * 12 + 2 * 2 * 12 * 5,
        "up": 2 * 2 * 2 * 2 * 5 * 7,
        "dense": 4 * 4 * 7 * 10,
        "head": 10 * 2,
    }


def test_merge_of_different_ranks() -> None:
    image = keras.Input((6, 6, 3))
    x = layers.Conv2D(6, 3, name="a")(image)
    gate = layers.Dense(6, name="gate")(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(image, layers.Dense(2)(layers.Flatten()(layers.Multiply()([x, gate]))))
    assert group_sizes(model) == {"a": 6}
    check(model)


@pytest.mark.parametrize("operand", [np.arange(1.0, 7.0, dtype=np.float32), np.ones((4, 4, 1), np.float32), 2.0])
def test_arithmetic_with_constants(operand: Any) -> None:
    model = image_model(chain(conv(6, "a"), lambda x: x * operand, conv(4, "b")), size=4)
    check(model)


@pytest.mark.parametrize(("filters", "units"), [(6, {}), (4, {"a": 4})])
def test_a_vector_that_keras_would_take_for_a_bias_of_the_channels(filters: int, units: dict[str, int]) -> None:
    # (5, 1) is added along the width of 5; with 5 channels left of 6 Keras 3.15 would add it along the channels.
    ramp = np.arange(5.0, dtype=np.float32).reshape(5, 1)
    image = keras.Input((7, 5, 3))
    x = layers.Conv2D(filters, 3, padding="same", name="a")(image) + ramp
    model = keras.Model(image, layers.Dense(2)(layers.Flatten()(x)))
    assert group_sizes(model) == units
    check(model, ratio=1 / filters)


@pytest.mark.parametrize(("filters", "units"), [(6, {}), (4, {"a": 4})])
def test_a_channels_first_bias_that_keras_would_add_along_the_width(filters: int, units: dict[str, int]) -> None:
    image = keras.Input((3, 7, 7))
    x = layers.Conv2D(filters, 3, data_format="channels_first", name="a")(image)  # filters x 5 x 5
    x = layers.GlobalAveragePooling2D(data_format="channels_first")(x)
    model = keras.Model(image, layers.Dense(2)(x))
    assert group_sizes(model) == units
    check(model, ratio=1 / filters)
