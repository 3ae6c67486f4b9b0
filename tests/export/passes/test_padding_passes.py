"""pad_symmetrically, mirror_image and embed_depthwise: the three ways to equal padding."""

from __future__ import annotations

import numpy as np
import pytest
from pass_oracle import assert_same, images, of_class, outputs, randomize, reasons, run_alone

from edgeprune.export.passes import embed_depthwise, mirror_image, pad_symmetrically
from edgeprune.export.passes.windows import Axis

pytestmark = pytest.mark.keras


def stem(padding="same", size=12, kernel=3, depthwise=False, end=True):
    """One stride-2 convolution. padding: same, or the zeros in front and behind."""
    import keras

    layers = keras.layers
    image = keras.Input((size, size, 3), name="image")
    x = image
    if padding != "same":
        x = layers.ZeroPadding2D((padding, padding), name="zeros")(x)
    border = "same" if padding == "same" else "valid"
    if depthwise:
        x = layers.DepthwiseConv2D(kernel, strides=2, padding=border, name="conv")(x)
    else:
        x = layers.Conv2D(5, kernel, strides=2, padding=border, name="conv")(x)
    return randomize(keras.Model(image, layers.GlobalMaxPooling2D()(x) if end else x))


def network(size=16, kernel=5, flat=False):
    """A small MobileNet with a nested part, a residual and squeeze-excite."""
    import keras

    layers = keras.layers
    image = keras.Input((size, size, 3), name="image")
    x = layers.Conv2D(6, 3, strides=2, padding="same", use_bias=False, name="stem")(layers.Rescaling(1 / 2, 0.5)(image))
    x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    y = layers.DepthwiseConv2D(3, padding="same", name="between")(x)
    y = layers.Conv2D(6, 1)(y)
    x = layers.Add()([x, y])
    x = layers.ZeroPadding2D(((kernel // 2 - 1, kernel // 2),) * 2, name="zeros")(x)
    down = layers.DepthwiseConv2D(kernel, strides=2, padding="valid", name="down")
    x = keras.Sequential([keras.Input(x.shape[1:]), down, layers.Activation("hard_swish")])(x)
    scale = layers.Conv2D(6, 1, activation="sigmoid")(layers.GlobalAveragePooling2D(keepdims=True)(x))
    x = layers.Multiply()([x, scale])
    x = layers.Flatten()(x) if flat else layers.GlobalAveragePooling2D()(x)
    return randomize(keras.Model(image, layers.Dense(4, name="scores")(x)))


@pytest.mark.parametrize(
    ("padding", "kernel", "depthwise"),
    [
        ("same", 3, False),
        ((0, 1), 3, False),
        ("same", 3, True),
        ((0, 1), 3, True),
        ("same", 5, True),
        ((1, 2), 5, True),
    ],
)
def test_symmetric_padding_reads_the_image_one_pixel_earlier(padding, kernel, depthwise):
    model = stem(padding, kernel=kernel, depthwise=depthwise, end=False)
    rewritten, report = run_alone(pad_symmetrically, model)
    assert report.changed == ("conv",)
    assert [layer.padding for layer in of_class(rewritten, "ZeroPadding2D")] == [((kernel // 2,) * 2,) * 2]
    given = images(model)
    moved = np.zeros_like(given)
    moved[:, 1:, 1:] = given[:, :-1, :-1]
    # windows that touch the border see other zeros: leave out two outputs at each side
    expected = outputs(model, given)[0][:, 1:-2, 1:-2]
    np.testing.assert_allclose(outputs(rewritten, moved)[0][:, 2:-1, 2:-1], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("padding", [(1, 1), "same"])
def test_what_is_symmetric_already_stays(padding):
    model = stem(padding, size=13 if padding == "same" else 12)
    for each in (pad_symmetrically, mirror_image, embed_depthwise):
        _, report = run_alone(each, model)
        assert report.changed == report.refusals == ()


def wide(**options):
    import keras

    layers = keras.layers
    image = keras.Input((12, 12, 3))
    x = layers.Conv2D(4, 1)(image)
    kind = options.pop("kind", "DepthwiseConv2D")
    x = getattr(layers, kind)(**{"strides": 2, "padding": "same", "name": "down", **options})(x)
    return randomize(keras.Model(image, layers.GlobalAveragePooling2D()(x)))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"kernel_size": 7}, "7x7 depthwise kernel; sparse kernels take 3x3 and 5x5"),
        ({"kernel_size": 3, "depth_multiplier": 2}, "depth multiplier 2; sparse kernels take 1"),
        ({"kind": "Conv2D", "filters": 4, "kernel_size": 3}, "a 3x3 convolution of 4 channels, stride 2"),
        ({"kind": "SeparableConv2D", "filters": 4, "kernel_size": 3}, "write it as a depthwise and a 1x1 convolution"),
        ({"kernel_size": 3, "padding": "valid"}, "the output would have another size"),
    ],
)
def test_refusals_say_why(options, reason):
    model = wide(**options)
    rewritten, report = run_alone(pad_symmetrically, model)
    assert report.changed == ()
    assert reason in reasons(report)["down"]
    assert_same(model, rewritten)


def test_a_shared_convolution_is_refused():
    import keras

    layers = keras.layers
    image = keras.Input((16, 16, 3))
    shared = layers.DepthwiseConv2D(3, strides=2, padding="same", name="shared")
    x = layers.Conv2D(4, 3, strides=2, padding="same")(image)
    model = keras.Model(image, layers.GlobalAveragePooling2D()(shared(shared(x))))
    for each in (pad_symmetrically, mirror_image):
        _, report = run_alone(each, model)
        assert "shared" not in report.changed
        assert "called more than once" in reasons(report)["shared"]


def test_an_open_size_is_refused():
    import keras

    image = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, strides=2, padding="same", name="conv")(image)
    _, report = run_alone(pad_symmetrically, keras.Model(image, keras.layers.GlobalAveragePooling2D()(x)))
    assert reasons(report) == {"conv": "the input's height or width is open"}


@pytest.mark.parametrize("kernel", [3, 5])
def test_the_mirrored_network_computes_the_same_with_symmetric_padding(kernel):
    model = network(kernel=kernel)
    rewritten, report = run_alone(mirror_image, model)
    assert report.changed == ("stem", "between", "down")
    assert report.refusals == ()
    assert_same(model, rewritten, tolerance=3e-6)
    pads = {layer.name: layer.padding for layer in of_class(rewritten, "ZeroPadding2D")}
    assert pads == {"stem_pad": ((1, 1), (1, 1)), "down_pad": ((kernel // 2,) * 2,) * 2}
    assert rewritten.get_layer("stem").padding == rewritten.get_layer("down").padding == "valid"
    assert rewritten.get_layer("between").padding == "same"


def test_a_single_padded_pixel_at_either_border_is_kept():
    """With ones everywhere the output shows which windows see padding: the oracle for borders."""
    model = stem("same", depthwise=False)
    model.get_layer("conv").set_weights([np.ones((3, 3, 3, 5)), np.zeros(5)])
    rewritten, _ = run_alone(mirror_image, model)
    assert_same(model, rewritten, np.ones((1, 12, 12, 3), np.float32), tolerance=1e-7)


def test_layers_that_look_at_positions_keep_the_image_unmirrored():
    model = network(flat=True)
    rewritten, report = run_alone(mirror_image, model)
    assert report.changed == ()
    assert list(reasons(report).values()) == ["Flatten may look at positions"]
    assert_same(model, rewritten)


def test_an_image_output_is_not_mirrored():
    model = stem("same", end=False)
    _, report = run_alone(mirror_image, model)
    assert report.changed == ()
    assert "would come out mirrored" in reasons(report)["conv"]


def test_a_strided_1x1_convolution_can_not_be_mirrored():
    import keras

    layers = keras.layers
    image = keras.Input((16, 16, 3))
    x = layers.Conv2D(4, 3, strides=2, padding="same", name="stem")(image)
    x = layers.Conv2D(4, 1, strides=2, name="shortcut")(x)
    _, report = run_alone(mirror_image, keras.Model(image, layers.GlobalAveragePooling2D()(x)))
    assert report.changed == ()
    assert "mirrored it would skip the first pixels" in reasons(report)["shortcut"]


def test_pooling_whose_windows_would_move_is_refused():
    import keras

    layers = keras.layers
    image = keras.Input((16, 16, 3))
    x = layers.Conv2D(4, 3, strides=2, padding="same", name="stem")(image)
    for pool, refused in ((layers.MaxPooling2D(2, name="pool"), False), (layers.MaxPooling2D(3, 2, name="pool"), True)):
        model = randomize(keras.Model(image, layers.GlobalAveragePooling2D()(pool(x))))
        rewritten, report = run_alone(mirror_image, model)
        assert ("pool" in reasons(report)) == refused
        assert_same(model, rewritten)


def test_an_image_that_two_layers_read_is_refused():
    import keras

    layers = keras.layers
    image = keras.Input((16, 16, 3), name="image")
    convs = [layers.Conv2D(4, 3, strides=2, padding="same")(image) for _ in range(2)]
    _, report = run_alone(mirror_image, keras.Model(image, layers.GlobalAveragePooling2D()(layers.Add()(convs))))
    assert report.changed == ()
    assert "one chain of layers" in next(iter(reasons(report).values()))


def test_an_image_that_meets_a_map_from_elsewhere_is_not_mirrored():
    import keras

    layers = keras.layers
    image, vector = keras.Input((16, 16, 3), name="image"), keras.Input((8,), name="vector")
    x = layers.Conv2D(4, 3, strides=2, padding="same", name="stem")(image)
    places = layers.Reshape((8, 8, 1))(layers.Dense(64)(vector))
    y = layers.GlobalAveragePooling2D()(layers.Multiply(name="meet")([x, places]))
    _, report = run_alone(mirror_image, keras.Model([image, vector], y))
    assert report.changed == ()
    assert "not made from the image" in reasons(report)["meet"]


def embeddable(symmetric_stem=True):
    """8x8 maps behind the stem, so the depthwise padding is unequal; Flatten keeps the image unmirrored."""
    import keras

    layers = keras.layers
    image = x = keras.Input((16, 16, 3))
    if symmetric_stem:
        x = layers.ZeroPadding2D(1)(x)
    x = layers.Conv2D(4, 3, strides=2, padding="valid" if symmetric_stem else "same", name="stem")(x)
    x = layers.DepthwiseConv2D(3, strides=2, padding="same", name="down")(x)
    return randomize(keras.Model(image, layers.Dense(3)(layers.Flatten()(x))))


def test_the_embedded_kernel_computes_the_same():
    model = embeddable()
    rewritten, report = run_alone(embed_depthwise, model)
    assert report.changed == ("down",)
    assert_same(model, rewritten, tolerance=1e-6)
    kernel = np.asarray(rewritten.get_layer("down").kernel)
    assert kernel.shape == (5, 5, 4, 1)
    np.testing.assert_array_equal(kernel[2:, 2:], model.get_layer("down").kernel)
    assert not kernel[:2].any()
    assert not kernel[:, :2].any()


def test_nothing_is_embedded_where_sparse_kernels_can_not_start():
    _, report = run_alone(embed_depthwise, embeddable(symmetric_stem=False))
    assert report.changed == ()
    assert "sparse kernels can't start" in reasons(report)["down"]


def test_an_odd_map_is_symmetric_already():
    """20 -> 10 -> 5 -> 3: the last layer's SAME pads (1, 1); valid_padding.py writes that for the runtime."""
    import keras

    layers = keras.layers
    image = x = keras.Input((20, 20, 3))
    x = layers.Conv2D(4, 3, strides=2, padding="same", name="stem")(x)
    x = layers.DepthwiseConv2D(3, strides=2, padding="same", name="even")(x)
    x = layers.DepthwiseConv2D(3, strides=2, padding="same", name="odd")(x)
    model = randomize(keras.Model(image, layers.GlobalAveragePooling2D()(x)))
    _, report = run_alone(pad_symmetrically, model)
    assert (report.changed, report.refusals) == (("stem", "even"), ())
    mirrored, report = run_alone(mirror_image, model)
    assert report.refusals == ()
    assert_same(model, mirrored)


def test_one_refused_layer_keeps_the_padding_of_all():
    import keras

    layers = keras.layers
    image = keras.Input((16, 16, 3))
    x = layers.Conv2D(4, 3, strides=2, padding="same", name="stem")(image)
    x = layers.DepthwiseConv2D(7, strides=2, padding="same", name="large")(x)
    _, report = run_alone(pad_symmetrically, keras.Model(image, layers.GlobalAveragePooling2D()(x)))
    assert report.changed == ()
    assert reasons(report)["stem"] == '"large" is refused: all or none'


@pytest.mark.parametrize("size", range(5, 14))
@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("pads", [(0, 0), (0, 1), (1, 1), (1, 2), (2, 0)])
def test_mirrored_windows_lie_where_the_windows_lie_on_the_mirrored_image(size, kernel, stride, pads):
    axis = Axis(size, kernel, stride, *pads)
    if axis.count < 1:
        return
    found = axis.mirrored()
    starts = sorted(size - (stride * number - axis.before) - kernel for number in range(axis.count))
    assert [stride * number - found.before for number in range(axis.count)] == starts
    assert found.before < 0 or found.count == axis.count
