"""recast_stem: first convolutions of any size, stride and number of channels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pass_oracle import assert_same, of_class, randomize, reasons, run_alone

from edgeprune.export.passes import recast_stem
from edgeprune.export.passes.recast_stem import tiles

pytestmark = pytest.mark.keras


def network(size=(12, 12, 3), kernel=3, stride=2, padding="same", behind=None, **options):
    import keras

    layers = keras.layers
    image = keras.Input(size)
    x = image
    if not isinstance(padding, str):
        x, padding = layers.ZeroPadding2D(padding)(x), "valid"
    options = {"activation": "relu", "name": "stem", **options}
    x = layers.Conv2D(4, kernel, strides=stride, padding=padding, **options)(x)
    x = behind(x) if behind else x
    return randomize(keras.Model(image, layers.GlobalAveragePooling2D()(x)))


def stems(model):
    """The convolutions, all of the form that sparse kernels start at."""
    found = of_class(model, "Conv2D")
    for layer in found:
        assert (layer.kernel_size, layer.strides, layer.padding) == ((3, 3), (2, 2), "valid")
        assert layer.input.shape[-1] == 3
        padded = layer.input._keras_history.operation
        assert padded.padding == ((1, 1), (1, 1))
        height, width = padded.input.shape[1:3]
        # an even size: the converter would write SAME for an odd one
        assert height % 2 == width % 2 == 0
    return found


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "count"),
    [
        ((12, 12, 1), 3, 2, ((1, 1), (1, 1)), 1),  # too few channels
        ((12, 12, 2), 3, 2, ((1, 1), (1, 1)), 1),
        ((12, 12, 4), 3, 2, ((1, 1), (1, 1)), 2),  # three channels and one
        ((12, 12, 3), 3, 1, "same", 1),
        ((9, 11, 3), 3, 1, "same", 1),
        ((28, 28, 1), 3, 1, "same", 1),
        ((12, 12, 3), 3, 2, "same", 4),  # no zero in front: two rows and two columns at a time
        ((12, 12, 3), 3, 2, "valid", 4),
        ((12, 14, 3), 5, 2, "same", 4),  # 3 + 2 rows
        ((13, 11, 3), 5, 2, "same", 4),
        ((12, 12, 3), 5, 1, "same", 4),
        ((12, 12, 3), 7, 2, "same", 9),  # 3 + 2 + 2 rows
        ((12, 12, 3), 3, 1, "valid", 4),
        ((12, 12, 3), (3, 5), 2, ((1, 1), (2, 2)), 2),
        ((12, 12, 3), 4, 2, ((1, 1), (1, 1)), 4),
        ((12, 12, 3), 2, 2, "valid", 1),
        ((12, 12, 3), 1, 1, "valid", 1),
    ],
)
def test_outputs_stay(size, kernel, stride, padding, count):
    model = network(size, kernel, stride, padding)
    rewritten, report = run_alone(recast_stem, model)
    assert report.changed == ("stem",)
    assert_same(model, rewritten)
    assert len(stems(rewritten)) == count


@settings(max_examples=200)
@given(kernel=st.integers(1, 9), stride=st.sampled_from([1, 2]), before=st.integers(0, 4), size=st.integers(9, 16))
def test_tiles_compute_the_convolution(kernel, stride, before, size):
    """One axis, by the definition in the module's text: y is made from x, a tile reads y[2i-1], y[2i], y[2i+1]."""
    random = np.random.default_rng(kernel * 100 + size)
    weights, x = random.normal(size=kernel), random.normal(size=size)
    count = (size + 2 * before - kernel) // stride + 1
    padded = np.concatenate([np.zeros(before), x, np.zeros(before + kernel + stride)])
    expected = [weights @ padded[stride * i : stride * i + kernel] for i in range(count)]
    found = np.zeros(count)
    for tile in tiles(kernel, stride, before):
        y = np.zeros(2 * count + 1)  # y[-1] is the last element: the padded zero
        for i in range(count):
            for at, row in ((2 * i, tile.middle), (2 * i + 1, tile.last)):
                y[at] = 0 if row is None else padded[stride * i + row]
        for new, old in zip(*tile.places(), strict=True):
            found += [weights[old] * y[2 * i + new - 1] for i in range(count)]
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_a_stem_that_sparse_kernels_take_stays():
    _, report = run_alone(recast_stem, network(padding=((1, 1), (1, 1))))
    assert (report.changed, report.refusals) == ((), ())


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"kernel": 4, "stride": 4, "padding": "valid"}, "stride 4x4; sparse kernels start at stride 2"),
        ({"kernel": 9, "padding": "same"}, "a 9x9 convolution of 3 channels; sparse kernels start at 3x3 ones"),
        ({"size": (12, 12, 30), "stride": 1}, "of 30 channels; sparse kernels start at 3x3 ones of 3 channels"),
        ({"stride": 1, "dilation_rate": 2}, "dilation 2"),
        ({"stride": 1, "groups": 3, "size": (12, 12, 6), "filters": None}, "groups 3"),
        ({"size": (None, None, 3), "stride": 1}, "height or width is open"),
    ],
)
def test_refusals_name_the_rule(options, reason):
    options = {name: value for name, value in options.items() if value is not None}
    if "groups" in options:
        import keras

        image = keras.Input((12, 12, 6))
        x = keras.layers.Conv2D(6, 3, padding="same", groups=3, name="stem")(image)
        model = keras.Model(image, keras.layers.GlobalAveragePooling2D()(x))
    else:
        model = network(**options)
    _, report = run_alone(recast_stem, model)
    assert report.changed == ()
    assert reason in reasons(report)["stem"]


@pytest.mark.parametrize(
    ("kind", "options", "reason"),
    [
        ("Conv2D", {"filters": 4, "kernel_size": 3, "padding": "same"}, "a 3x3 convolution of 4 channels, stride 1"),
        ("MaxPooling2D", {}, "a MaxPooling2D, which has no sparse form"),
        ("DepthwiseConv2D", {"kernel_size": 7, "padding": "same"}, "a 7x7 depthwise kernel"),
        ("DepthwiseConv2D", {"kernel_size": 3}, "padded by ((0, 0), (0, 0))"),
    ],
)
def test_nothing_is_spent_on_a_stem_whose_network_stays_dense(kind, options, reason):
    import keras

    model = network(stride=1, behind=getattr(keras.layers, kind)(**options, name="wall"))
    _, report = run_alone(recast_stem, model)
    assert report.changed == ()
    assert reasons(report)["stem"].startswith(f'"wall" behind it is {reason}')
