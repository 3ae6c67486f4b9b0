"""All passes together, on nets of the shapes that keras.applications uses and on random ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pass_oracle import assert_same, images, randomize

from edgeprune.errors import InputError
from edgeprune.export.passes.apply import PASSES, apply_passes
from edgeprune.export.passes.layer_graph import read_model
from edgeprune.export.passes.windows import Windows, windows_of

pytestmark = pytest.mark.keras

BLOCKS = st.fixed_dictionaries(
    {
        "kernel": st.sampled_from([3, 5]),
        "stride": st.sampled_from([1, 2]),
        "explicit": st.booleans(),
        "activation": st.sampled_from(["relu6", "hard_swish", "swish", "hard_sigmoid"]),
        "squeeze": st.sampled_from([None, "keepdims", "reshape"]),
        "residual": st.booleans(),
        "nested": st.booleans(),
    }
)
NETS = st.fixed_dictionaries(
    {
        "size": st.sampled_from([16, 20, 32, 17]),
        "preprocessing": st.sampled_from([None, "scale", "scale and offset"]),
        "head": st.sampled_from(["dense", "convolution"]),
        "blocks": st.lists(BLOCKS, min_size=1, max_size=3),
        "seed": st.integers(0, 99),
    }
)


def build(net):
    import keras

    layers = keras.layers
    image = x = keras.Input((net["size"], net["size"], 3), name="image")
    if net["preprocessing"] == "scale":
        x = layers.Rescaling(0.5)(x)
    elif net["preprocessing"]:
        x = layers.Rescaling(2.0, -0.25)(x)
    x = layers.Conv2D(6, 3, strides=2, padding="same", use_bias=False, name="stem")(x)
    x = layers.Activation("relu")(layers.BatchNormalization()(x))
    for block in net["blocks"]:
        if block["nested"]:
            inside = keras.Input(x.shape[1:])
            x = keras.Model(inside, add_block(inside, block))(x)
        else:
            x = add_block(x, block)
    if net["head"] == "dense":
        x = layers.Dense(4)(layers.GlobalAveragePooling2D()(x))
    else:
        x = layers.Conv2D(4, 1)(layers.GlobalAveragePooling2D(keepdims=True)(x))
        x = layers.Reshape((4,))(x)
    return randomize(keras.Model(image, x), net["seed"])


def add_block(x, block):
    import keras

    layers = keras.layers
    shortcut = x
    y = layers.BatchNormalization()(layers.Conv2D(6, 1, use_bias=False)(x))
    y = layers.Activation(block["activation"])(y)
    border = "same"
    if block["stride"] == 2 and block["explicit"]:
        before = [(block["kernel"] - 1) // 2 - (1 - size % 2) for size in y.shape[1:3]]
        y = layers.ZeroPadding2D(tuple((pad, block["kernel"] // 2) for pad in before))(y)
        border = "valid"
    y = layers.DepthwiseConv2D(block["kernel"], strides=block["stride"], padding=border, use_bias=False)(y)
    y = layers.Activation(block["activation"])(layers.BatchNormalization()(y))
    if block["squeeze"] == "keepdims":
        scale = layers.Conv2D(6, 1)(layers.GlobalAveragePooling2D(keepdims=True)(y))
        y = layers.Multiply()([y, layers.ReLU(6.0)(scale + 3.0) * (1 / 6)])
    elif block["squeeze"]:
        pooled = layers.Reshape((1, 1, 6))(layers.GlobalAveragePooling2D()(y))
        y = layers.Multiply()([y, layers.Conv2D(6, 1, activation="sigmoid")(pooled)])
    y = layers.BatchNormalization()(layers.Conv2D(6, 1, use_bias=False)(y))
    return layers.Add()([shortcut, y]) if block["residual"] and block["stride"] == 1 else y


def paddings(model):
    """Of all stride-2 convolutions: whether they have the padding that sparse kernels take."""
    graph = read_model(model)
    found = [windows_of(graph, call) for call in graph.calls if getattr(call.operation, "strides", None) == (2, 2)]
    return [isinstance(windows, Windows) and windows.is_symmetric() for windows in found]


def count(model, kind):
    return sum(type(layer).__name__ == kind for layer in model._flatten_layers())


@settings(max_examples=12, deadline=None, derandomize=True)
@given(net=NETS)
def test_export_as_it_is_changes_no_output_and_runs_once(net):
    model = build(net)
    rewritten, reports = apply_passes(model, finetuned=False)
    assert_same(model, rewritten)
    again, more = apply_passes(rewritten, finetuned=False)
    assert again is rewritten
    assert [report.name for report in more if report.changed] == []
    if net["size"] in (16, 32):  # even at every stride
        assert all(paddings(rewritten))


@settings(max_examples=8, deadline=None, derandomize=True)
@given(net=NETS)
def test_before_finetuning_padding_changes_and_what_training_needs_stays(net):
    model = build(net)
    rewritten, reports = apply_passes(model, finetuned=True)
    if net["size"] in (16, 32):
        assert all(paddings(rewritten))
    for kind in ("BatchNormalization", "Rescaling"):
        assert count(rewritten, kind) == count(model, kind)
    again, _ = apply_passes(rewritten, finetuned=True)
    assert again is rewritten
    # after training, export changes no output any more, and finds no padding to mend
    deployed, reports = apply_passes(rewritten, finetuned=False)
    assert_same(rewritten, deployed)
    assert not any(report.changed for report in reports if report.name in ("mirror_image", "embed_depthwise"))


NET = {
    "size": 16,
    "preprocessing": "scale and offset",
    "head": "convolution",
    "blocks": [
        {
            "kernel": 5,
            "stride": 2,
            "explicit": True,
            "activation": "swish",
            "squeeze": "reshape",
            "residual": False,
            "nested": True,
        }
    ],
    "seed": 3,
}


def test_every_pass_reports_in_order():
    _, reports = apply_passes(build(NET), finetuned=False)
    names = [each.name for each in PASSES if each.before_finetuning is not True]
    assert [report.name for report in reports] == names
    assert all(report.exactness for report in reports)
    assert {report.name for report in reports if report.changed} == set(names) - {
        "name_global_pooling",
        "prelu_by_relu",
        "reshape_constants",
        "write_as_depthwise",
        "end_by_depth_to_space",
        "recast_stem",
        "embed_depthwise",
    }


def test_a_rewritten_model_trains_and_survives_a_file(tmp_path):
    import keras

    model = build(NET)
    rewritten, _ = apply_passes(model, finetuned=True)
    rewritten.compile("sgd", "mse")
    rewritten.fit(images(model), np.zeros((3, 4)), verbose=0)
    deployed, _ = apply_passes(rewritten, finetuned=False)
    deployed.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert_same(rewritten, loaded)


def test_passes_can_be_left_out():
    model = build(NET)
    _, reports = apply_passes(model, finetuned=False, without={"swish_by_tanh"})
    assert "swish_by_tanh" not in [report.name for report in reports]
    with pytest.raises(InputError, match='unknown pass "mirror"; did you mean "mirror_image"'):
        apply_passes(model, finetuned=False, without={"mirror"})


def test_a_model_without_anything_to_do_comes_back_itself():
    import keras

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    assert apply_passes(model, finetuned=False)[0] is model
    assert apply_passes(model, finetuned=True)[0] is model


def test_zeros_of_pruned_kernels_survive_all_passes():
    model = build(NET)
    rng = np.random.default_rng(0)
    zeros = 0
    for layer in model._flatten_layers():
        if getattr(layer, "kernel_size", None) == (1, 1):
            kernel, *bias = layer.get_weights()
            kernel[rng.random(kernel.shape) < 0.6] = 0
            zeros += int((kernel == 0).sum())
            layer.set_weights([kernel, *bias])
    rewritten, _ = apply_passes(model, finetuned=False)
    assert_same(model, rewritten)
    kept = [np.asarray(layer.kernel) for layer in rewritten.layers if getattr(layer, "kernel_size", None) == (1, 1)]
    kept += [np.asarray(layer.kernel) for layer in rewritten.layers if type(layer).__name__ == "Dense"]
    assert sum(int((kernel == 0).sum()) for kernel in kept) == zeros
