"""Drawing a fair part of the data, also where it is stored class by class."""

from __future__ import annotations

import numpy as np
import pytest

from edgeprune.data.dataset import DatasetSplit
from edgeprune.data.load import load_data
from edgeprune.data.signature import signature_of
from edgeprune.pipeline.samples import drawn_batches

pytestmark = pytest.mark.keras


def classifier():
    import keras

    return keras.Sequential([keras.Input((1,)), keras.layers.Dense(10, activation="softmax")])


def sorted_by_class(count: int):
    y = np.sort(np.arange(count) % 10).astype(np.int32)
    return np.arange(count, dtype=np.float32)[:, None], y


def drawn(split, batch_size: int, samples: int, seed: int = 0):
    batches, count = drawn_batches(split, batch_size, samples, seed)
    parts = [(np.asarray(x), np.asarray(y)) for x, y in batches]
    assert len(parts) == count
    return np.concatenate([x for x, _ in parts])[:, 0], np.concatenate([y for _, y in parts])


def array_split(count: int):
    x, y = sorted_by_class(count)
    return load_data(((x, y), (x, y)), signature_of(classifier())).train


def test_a_part_of_sorted_data_holds_all_classes():
    x, y = drawn(array_split(1000), 16, 100)
    assert len(x) == 112  # the batch that reaches 100 is whole
    assert set(y) == set(range(10))
    np.testing.assert_array_equal(y, (x // 100).astype(int))
    assert len(set(x)) == 112


def test_the_draw_is_the_seeds():
    split = array_split(100)
    np.testing.assert_array_equal(drawn(split, 8, 40, seed=1)[0], drawn(split, 8, 40, seed=1)[0])
    assert not np.array_equal(drawn(split, 8, 40, seed=1)[0], drawn(split, 8, 40, seed=2)[0])


@pytest.mark.parametrize(("samples", "count"), [(1, 8), (8, 8), (9, 16), (20, 20), (10**6, 20)])
def test_how_many_samples_are_drawn(samples, count):
    x, _ = drawn(array_split(20), 8, samples)
    assert len(x) == count


def test_a_batched_dataset_keeps_its_batches():
    import tensorflow as tf

    x, y = sorted_by_class(64)
    dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(16)
    batches, _ = drawn_batches(DatasetSplit(dataset, signature_of(classifier()), "data"), 4, 20, 0)
    assert [len(part) for part, _ in batches] == [16, 16]


def test_a_dataset_of_unknown_length():
    import tensorflow as tf

    x, y = sorted_by_class(30)
    dataset = tf.data.Dataset.from_tensor_slices((x, y)).filter(lambda part, label: True)
    split = DatasetSplit(dataset, signature_of(classifier()), "data")
    batches, _ = drawn_batches(split, 8, 100, 0)
    assert sum(len(part) for part, _ in batches) == 30


def test_dictionaries_and_tuples_of_inputs_are_counted():
    import keras

    inputs = [keras.Input((1,), name=name) for name in "ab"]
    for structure in (inputs, dict(zip("ab", inputs, strict=True))):
        model = keras.Model(structure, keras.layers.Dense(2)(keras.layers.Add()(inputs)))
        x = {name: np.zeros((50, 1), dtype=np.float32) for name in "ab"}
        y = np.zeros((50, 2), dtype=np.float32)
        split = load_data(((x, y), (x, y)), signature_of(model)).train
        batches, count = drawn_batches(split, 10, 25, 0)
        assert len(list(batches)) == count == 3
