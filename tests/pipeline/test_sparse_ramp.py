"""The ramp of the sparse stage, which kernels it prunes, and the pictures of its masks."""

from __future__ import annotations

import numpy as np
import pytest

from edgeprune.errors import InputError
from edgeprune.pipeline.kernels import planned_kernels, sparse_weights, stored_kernels, zeros_of
from edgeprune.pipeline.pictures import mask_pictures
from edgeprune.pipeline.sparse import RampPruning

pytestmark = pytest.mark.keras


def network():
    import keras

    keras.utils.set_random_seed(0)
    layers = keras.layers
    inputs = keras.Input((8, 8, 8, 4))
    x = layers.Conv3D(8, 3, name="volume")(inputs)
    x = layers.Reshape((36, 6, 8))(x)
    x = layers.Conv2D(100, 3, name="flat")(layers.DepthwiseConv2D(3, padding="same")(x))
    return keras.Model(inputs, layers.Dense(70, name="hidden")(layers.GlobalAveragePooling2D()(x)))


def shares(model) -> dict[str, float]:
    return {w.layer.name: float(np.mean(np.asarray(w.variable) == 0)) for w in sparse_weights(model)}


def test_kernels_that_the_file_stores_densely_are_left_alone():
    assert set(shares(network())) == {"flat", "hidden"}


def test_the_ramp_is_cubic():
    """final (1 - (1 - part)^3), Zhu & Gupta 2017; a hundredth of the training at a time."""
    model = network()
    ramp = RampPruning(model, "unstructured", 0.8)
    for part in (0.0, 0.25, 0.5, 0.99):
        ramp.before_step(part)
        expected = 0.8 * (1 - (1 - part * 100 / 99) ** 3)
        assert zeros_of(stored_kernels(model).values()).share == pytest.approx(min(expected, 0.8), abs=1e-3)
    assert ramp.finish() == pytest.approx(0.8, abs=1e-3)


def test_the_least_weights_go():
    model = network()
    before = [np.abs(np.asarray(weight.variable)) for weight in sparse_weights(model)]
    RampPruning(model, "unstructured", 0.8).finish()
    for values, weight in zip(before, sparse_weights(model), strict=True):
        kept = np.asarray(weight.variable) != 0
        assert values[kept].min() >= values[~kept].max()


def test_layers_share_the_zeros_and_none_is_emptied():
    """The scale of a kernel does not matter, only how its weights are spread."""
    model, scaled = network(), network()
    kernel = sparse_weights(scaled)[0].variable
    kernel.assign(np.asarray(kernel) * 1e-3)
    for one in (model, scaled):
        RampPruning(one, "unstructured", 0.95).finish()
    assert shares(model) == pytest.approx(shares(scaled), abs=1e-3)
    assert len(set(shares(model).values())) == 2
    assert all(0.9 < share < 0.99 for share in shares(model).values())


def test_a_second_ramp_goes_on_from_the_zeros_there_are():
    model = network()
    RampPruning(model, "unstructured", 0.5).finish()
    zeros = [np.asarray(weight.variable) == 0 for weight in sparse_weights(model)]
    ramp = RampPruning(model, "unstructured", 0.9, initial=0.5)
    ramp.before_step(0.0)
    assert zeros_of(stored_kernels(model).values()).share == pytest.approx(0.5, abs=1e-3)
    assert ramp.finish() == pytest.approx(0.9, abs=1e-3)
    for weight, earlier in zip(sparse_weights(model), zeros, strict=True):
        assert not np.asarray(weight.variable)[earlier].any()


@pytest.mark.parametrize(("pattern", "sparsity"), [("unstructured", 0.8), ("2:4", 0.5), ("1:4", 0.75), ("4:8", 0.5)])
def test_what_is_planned_is_what_comes_out(pattern, sparsity):
    model = network()
    planned = planned_kernels(model, pattern, sparsity)
    reached = RampPruning(model, pattern, sparsity).finish()
    assert stored_kernels(model) == planned
    assert zeros_of(planned.values()).share == pytest.approx(reached)


def test_nothing_the_file_could_store_sparsely():
    import keras

    inputs = keras.Input((8, 8, 8, 4))
    model = keras.Model(inputs, keras.layers.Conv3D(8, 3, name="volume")(inputs))
    with pytest.raises(InputError, match=f'no kernel of "{model.name}" can be stored sparsely'):
        sparse_weights(model)


def test_pictures_hold_the_share_kept_in_every_cell():
    """hidden: 70 outputs of 100 inputs, in cells of one or two on either side."""
    model = network()
    hidden = next(weight for weight in sparse_weights(model) if weight.layer.name == "hidden")
    value = np.ones(hidden.shape, np.float32)
    value[:, 0] = 0  # the first output
    value[50:, :] = 0  # the second half of the inputs
    hidden.variable.assign(value)
    (picture,) = mask_pictures(model)  # the other kernel has no zeros
    assert (picture.kernel, picture.outputs, picture.inputs) == (hidden.path, 70, 100)
    assert picture.sparsity == pytest.approx(1 - 69 * 50 / 7000)
    assert picture.kept.shape == (64, 64)
    assert not picture.kept[0].any()
    assert not picture.kept[:, 32:].any()
    assert np.all(picture.kept[1:, :32] == 1)


def test_a_small_kernel_has_a_cell_per_weight():
    model = network()
    flat = next(weight for weight in sparse_weights(model) if weight.layer.name == "flat")
    value = np.asarray(flat.variable).copy()
    value[1, 2, 3, 4] = 0  # height, width, input, output
    flat.variable.assign(value)
    picture = mask_pictures(model)[0]
    assert (picture.outputs, picture.inputs) == (100, 3 * 3 * 8)
    # 72 inputs in 64 cells: input 43 of [h, w, in] lies in cell 38, with one other
    column = (1 * 3 + 2) * 8 + 3
    row = int(np.searchsorted(np.linspace(0, 100, 64, endpoint=False).astype(int), 4, side="right")) - 1
    cell = int(np.searchsorted(np.linspace(0, 72, 64, endpoint=False).astype(int), column, side="right")) - 1
    assert picture.kept[row, cell] < 1
    assert np.count_nonzero(picture.kept < 1) == 1
