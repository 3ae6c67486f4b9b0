"""The user's data as batches: what comes out of every form, and one line for what doesn't fit."""

from __future__ import annotations

import re

import numpy as np
import pytest

from edgeprune.errors import InputError
from edgeprune.sparsity.criteria.batches import MAX_SAMPLES, read_batches, sample_count
from edgeprune.sparsity.criteria.snip import Snip

pytestmark = pytest.mark.keras


def numbered(size: int):
    """Samples that carry their number."""
    x = np.arange(size, dtype=np.float32)[:, None] * np.ones((1, 2), dtype=np.float32)
    return x, x[:, :1] * 10


def numbers(batches) -> np.ndarray:
    return np.concatenate([np.asarray(x)[:, 0] for x, _, _ in batches])


def test_arrays_are_mixed_and_kept_together(linear_model, evidence_of):
    x, y = numbered(10)
    batches = read_batches("snip", evidence_of(linear_model, (x, y, y[:, 0] + 1), batch_size=4))
    assert [sample_count(batch) for batch in batches] == [4, 4, 2]
    assert sorted(numbers(batches)) == list(range(10))
    assert list(numbers(batches)) != list(range(10))
    for inputs, labels, weights in batches:
        np.testing.assert_array_equal(labels[:, 0], inputs[:, 0] * 10)
        np.testing.assert_array_equal(weights, inputs[:, 0] * 10 + 1)


def test_the_choice_is_the_seeds(linear_model, evidence_of):
    data = numbered(5000)
    found = [numbers(read_batches("snip", evidence_of(linear_model, data, seed=seed))) for seed in (0, 0, 1)]
    assert len(found[0]) == MAX_SAMPLES == len(set(found[0]))
    np.testing.assert_array_equal(found[0], found[1])
    assert set(found[0]) != set(found[2])
    # data that is sorted by class must not lose the classes at its end
    assert found[0].max() > 4900


def datasets():
    import keras
    import tensorflow as tf

    x, y = numbered(6)

    class Sequence(keras.utils.PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            rows = slice(index * 4, index * 4 + 4)
            return x[rows], y[rows]

    pairs = [(x[:4], y[:4]), (x[4:], y[4:])]
    yield tf.data.Dataset.from_tensor_slices((x, y)).batch(4)
    yield Sequence()
    yield pairs
    yield (pair for pair in pairs)
    yield [list(pair) for pair in pairs]


def test_every_form_of_batches(linear_model, evidence_of):
    for data in datasets():
        batches = read_batches("snip", evidence_of(linear_model, data))
        assert [sample_count(batch) for batch in batches] == [4, 2]
        assert numbers(batches).tolist() == [0, 1, 2, 3, 4, 5]
        assert [np.asarray(y)[0, 0] for _, y, _ in batches] == [0, 40]


def test_endless_data_is_cut(linear_model, evidence_of):
    import tensorflow as tf

    data = tf.data.Dataset.from_tensor_slices(numbered(300)).repeat().batch(300)
    batches = read_batches("snip", evidence_of(linear_model, data))
    assert [sample_count(batch) for batch in batches] == [300] * 6 + [MAX_SAMPLES - 1800]
    assert len(batches[-1][1]) == MAX_SAMPLES - 1800


def test_shuffled_data_is_read_once(linear_model, evidence_of):
    """A data set that is in another order each time still gives one result to both passes of GraSP."""
    import tensorflow as tf

    data = tf.data.Dataset.from_tensor_slices(numbered(64)).shuffle(64).batch(8)
    batches = read_batches("grasp", evidence_of(linear_model, data))
    np.testing.assert_array_equal(numbers(batches), numbers(batches))


def two_inputs():
    import keras

    inputs = [keras.Input((2,), name="left"), keras.Input((3,), name="right")]
    model = keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Concatenate()(inputs)))
    model.compile("sgd", "mse")
    return model


def test_several_inputs(evidence_of):
    left, right, y = np.ones((4, 2)), np.ones((4, 3)), np.ones((4, 1))
    for x in ((left, right), [left, right], {"left": left, "right": right}):
        (found,) = Snip().bind(evidence_of(two_inputs(), (x, y), batch_size=2)).scores()
        assert found.sum() == pytest.approx(1.0)


@pytest.mark.parametrize("name", ["x", "y"])
def test_a_last_axis_of_one_may_be_left_out(name, evidence_of):
    """As in fit."""
    import keras

    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    data = {"x": np.ones((4, 1)), "y": np.ones((4, 1))}
    data[name] = data[name][:, 0]
    (found,) = Snip().bind(evidence_of(model, (data["x"], data["y"]))).scores()
    assert found.tolist() in ([[1.0]], [[0.0]])


X, Y = numbered(4)

MISTAKES = {
    "none": (None, 'needs data: pass data=(x, y), or choose the criterion "magnitude"'),
    "number": (3, "data is int; pass (x, y) arrays, a batched tf.data.Dataset"),
    "no samples": ((X[:0], Y[:0]), "got no samples from data (tuple)"),
    "no batches": ([], "got no samples from data (list)"),
    "read generator": ("generator", "got no samples from data (generator); a generator that was read before is empty"),
    "lengths": ((X, Y[:3]), "parts of different lengths (4, 3); x, y and sample_weight need one entry per sample"),
    "lengths beyond the limit": ((np.ones((5000, 2)), np.ones((4000, 1))), "different lengths (5000, 4000)"),
    "nothing": ((None, None), "data has no x; pass data=(x, y)"),
    "weight lengths": ((X, Y, np.ones(2)), "parts of different lengths (4, 4, 2)"),
    "lengths in a batch": ([(X, Y), (X, Y[:1])], "parts of different lengths (4, 1)"),
    "no labels": ((X,), "needs labels, but data holds only x; pass data=(x, y)"),
    "an array alone": (X, "needs labels, but data holds only x"),
    "four parts": ((X, Y, Y, Y), "must be (x, y) or (x, y, sample_weight), received 4 parts"),
    "shape": ((np.ones((4, 3)), Y), "x of a batch has shape (4, 3), but the model takes (batch, 2)"),
    "rank": ((np.ones((4, 2, 2)), Y), "x of a batch has shape (4, 2, 2), but the model takes (batch, 2)"),
    "not batched": ([(X[0], Y[0])], "different lengths (2, 1)"),
    "later batch": ([(X, Y), (np.ones((4, 5)), Y)], "x of a batch has shape (4, 5)"),
    "label shape": ((X, np.ones((4, 3, 2))), "can't run the model and its loss on the data"),
    "too many inputs": (({"a": X, "b": X}, Y), 'x names "a", which is no input of the model'),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_told_in_one_line(mistake, linear_model, evidence_of):
    data, words = MISTAKES[mistake]
    if isinstance(data, str):
        data = (batch for batch in [(X, Y)])
        list(data)
    with pytest.raises(InputError, match=re.escape(words)) as found:
        Snip().bind(evidence_of(linear_model, data))
    assert "\n" not in str(found.value)


def test_a_missing_output(evidence_of):
    import keras

    inputs = keras.Input((2,))
    outputs = {name: keras.layers.Dense(1, name=name)(inputs) for name in ("a", "b")}
    model = keras.Model(inputs, outputs)
    model.compile("sgd", {"a": "mse", "b": "mse"})
    with pytest.raises(InputError, match="can't run the model and its loss on the data") as found:
        Snip().bind(evidence_of(model, (X, {"a": Y})))
    assert "\n" not in str(found.value)


def test_a_batch_size_of_zero(linear_model, evidence_of):
    with pytest.raises(InputError, match="batch_size must be 1 or more, received 0"):
        Snip().bind(evidence_of(linear_model, (X, Y), batch_size=0))


def test_a_model_that_is_not_compiled(evidence_of):
    import keras

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    with pytest.raises(InputError, match=r'criterion "snip" needs the loss: call model.compile\(loss=...\) before'):
        Snip().bind(evidence_of(model, (X, Y)))


def test_a_model_compiled_without_a_loss(evidence_of):
    import keras

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd")
    with pytest.raises(InputError, match="No loss to compute"):
        Snip().bind(evidence_of(model, (X, Y)))


def test_labels_out_of_range(evidence_of):
    import keras

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(InputError) as found:
        Snip().bind(evidence_of(model, (X, np.array([0, 1, 2, 3]))))
    assert "\n" not in str(found.value)
