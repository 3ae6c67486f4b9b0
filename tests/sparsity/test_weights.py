"""Where the kernels of a model are, and how the runtime reads them."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeprune.sparsity.selection import select
from edgeprune.sparsity.weights import PrunableWeight, prunable_weights

pytestmark = pytest.mark.keras

layers = keras.layers


def everything() -> Any:
    """Every kind of layer with a kernel, once; a nested model, a shared layer, wrapped cells."""
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, groups=1, name="conv")(image)
    x = layers.SeparableConv2D(5, 3, name="separable")(x)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise")(x)
    x = layers.Conv2DTranspose(6, 2, name="transposed")(x)
    x = layers.Reshape((9, 6) if x.shape[1:3] == (3, 3) else (x.shape[1] * x.shape[2], 6))(x)
    x = layers.Conv1D(8, 2, name="conv1d")(x)
    x = layers.MultiHeadAttention(2, 3, name="attention")(x, x)
    x = layers.Bidirectional(layers.LSTM(3, name="lstm"), name="both_ways")(x)
    shared = layers.Dense(6, name="shared")
    x = shared(shared(x))
    return keras.Model(image, keras.Sequential([layers.Dense(2, name="inner")], name="head")(x))


def test_every_kernel_is_found_once_with_its_axes() -> None:
    found = {weight.path: weight for weight in prunable_weights(everything())}
    views = {path: w.runtime_view(np.zeros(w.shape)).shape for path, w in found.items()}
    # (positions, outputs, inputs), inputs being what TFLite stores innermost
    assert views == {
        "conv/kernel": (9, 4, 3),
        "separable/pointwise_kernel": (1, 5, 4),
        "depthwise/kernel": (9, 1, 10),
        "transposed/kernel": (4, 6, 10),
        "conv1d/kernel": (2, 8, 6),
        "attention/query/kernel": (1, 6, 8),
        "attention/key/kernel": (1, 6, 8),
        "attention/value/kernel": (1, 6, 8),
        "attention/attention_output/kernel": (1, 8, 6),
        "both_ways/forward_lstm/lstm_cell/kernel": (1, 12, 8),
        "both_ways/forward_lstm/lstm_cell/recurrent_kernel": (1, 12, 3),
        "both_ways/backward_lstm/lstm_cell/kernel": (1, 12, 8),
        "both_ways/backward_lstm/lstm_cell/recurrent_kernel": (1, 12, 3),
        "shared/kernel": (1, 6, 6),
        "head/inner/kernel": (1, 2, 6),
    }


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (layers.Dense(6), (5,)),
        (layers.Conv2D(6, (2, 3)), (7, 7, 5)),
        (layers.Conv2D(6, 2, groups=2), (7, 7, 4)),
        (layers.Conv2DTranspose(6, 2), (7, 7, 5)),
        (layers.DepthwiseConv2D(3, depth_multiplier=2), (7, 7, 5)),
        (layers.Conv1D(6, 3), (7, 5)),
        (layers.EinsumDense("abc,cd->abd", output_shape=(None, 6)), (7, 5)),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, tuple) else "",
)
def test_the_view_is_laid_out_as_the_tflite_file_stores_it(layer: Any, shape: tuple[int, ...]) -> None:
    """Oracle: the converter. Its constant of the kernel's size holds the view's values in the view's order."""
    from ai_edge_litert.interpreter import Interpreter

    from edgeprune.export.convert import convert

    model = keras.Sequential([keras.Input(shape), layer])
    (weight,) = prunable_weights(model)
    values = np.random.default_rng(0).permutation(weight.size).astype("float32").reshape(weight.shape) + 1
    weight.variable.assign(values)
    view = weight.runtime_view(values)
    file = Interpreter(model_content=convert(model, "none"))
    sized = [d["index"] for d in file.get_tensor_details() if np.prod(d["shape"]) == weight.size]
    assert any(_same_order(file.get_tensor(index), view) for index in sized)


def _same_order(stored: np.ndarray, view: np.ndarray) -> bool:
    """The last axis is the same; rows may come in another order (TFLite puts outputs before positions)."""
    rows = {tuple(row) for row in stored.reshape(-1, view.shape[-1]).tolist()}
    return rows == {tuple(row) for row in view.reshape(-1, view.shape[-1]).tolist()}


@settings(deadline=None, max_examples=50)
@given(shape=st.lists(st.integers(1, 4), min_size=2, max_size=5), data=st.data())
def test_the_two_views_are_inverse(shape: list[int], data: st.DataObject) -> None:
    order = tuple(data.draw(st.permutations(range(len(shape)))))
    positions = data.draw(st.integers(0, len(shape)))
    outputs = data.draw(st.integers(0, len(shape) - positions))

    class Variable:
        pass

    Variable.shape = tuple(shape)
    weight = PrunableWeight("p", Variable, None, order, positions, outputs)
    value = np.arange(weight.size).reshape(shape)
    view = weight.runtime_view(value)
    assert view.ndim == 3
    assert np.array_equal(weight.keras_view(view), value)


def test_default_selection_leaves_out_depthwise_embeddings_and_what_is_not_trained() -> None:
    model = everything()
    model.get_layer("conv").trainable = False
    paths = [weight.path for weight in select(prunable_weights(model))]
    assert "conv/kernel" not in paths
    assert "depthwise/kernel" not in paths
    assert len(paths) == 13
    assert [w.path for w in select(prunable_weights(model), include=["conv", "attention"], exclude="query")] == [
        "conv/kernel",
        "attention/key/kernel",
        "attention/value/kernel",
        "attention/attention_output/kernel",
    ]
