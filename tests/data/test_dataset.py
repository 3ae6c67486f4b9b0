"""tf.data: batched or not, split in memory, and what is refused."""

import numpy as np
import pytest
import tensorflow as tf

from edgeprune.data.load import load_data
from edgeprune.errors import InputError
from tests.data.signatures import classifier, two_by_two

pytestmark = pytest.mark.keras

X = np.arange(48, dtype=np.uint8).reshape(12, 4)
Y = np.arange(12) % 3
PLAIN = tf.data.Dataset.from_tensor_slices((X, Y))


def _load(dataset, validation=PLAIN, signature=None):
    return load_data((dataset, validation), signature or classifier())


@pytest.mark.parametrize("dataset", [PLAIN, PLAIN.batch(5), PLAIN.batch(5).map(lambda x, y: (x, y[:, None]))])
def test_batched_or_not_gives_the_same_samples(dataset):
    train = _load(dataset).train
    batches = list(train.batches(4, limit=10))
    assert [len(x) for x, _ in batches] == [4, 4, 2]
    x, y = (np.concatenate(part) for part in zip(*batches, strict=True))
    assert (x.dtype, y.dtype) == (np.float32, np.int32)
    np.testing.assert_array_equal(x, X[:10])
    np.testing.assert_array_equal(y, Y[:10])
    np.testing.assert_array_equal(train.inputs(3)[0], X[:3])
    np.testing.assert_array_equal(np.sort(train.label_sample(12, 0)), np.sort(Y))
    assert sorted(np.bincount((train.sample(3, 0)[0][:, 0].astype(int) // 4) % 3)) == [1, 1, 1]


def test_sizes():
    assert _load(PLAIN).train.size == 12
    assert _load(PLAIN.batch(4, drop_remainder=True)).train.size == 12
    assert _load(PLAIN.batch(5)).train.size is None
    assert _load(PLAIN.filter(lambda x, y: y > 0)).train.size is None


def test_an_epoch_is_batched_and_seeded():
    train = _load(PLAIN).train
    orders = [np.concatenate([x.numpy()[:, 0] for x, _ in train.epoch(5, seed)]).tolist() for seed in (None, 1, 1, 2)]
    assert orders[0] == X[:, 0].tolist()
    assert orders[1] == orders[2]
    assert orders[1] != orders[3]
    assert sorted(orders[1]) == orders[0]
    assert [len(x) for x, _ in _load(PLAIN.batch(7)).train.epoch(5, 1)] == [7, 5]


def test_names():
    dataset = tf.data.Dataset.from_tensor_slices(
        ({"right": np.ones((6, 3)), "left": np.ones((6, 2))}, {"age": np.arange(6), "kind": np.arange(6) % 4})
    )
    x, y = next(_load(dataset, dataset, two_by_two()).train.batches(6))
    assert [part.shape for part in x] == [(6, 2), (6, 3)]
    np.testing.assert_array_equal(y[1], np.arange(6)[:, None])
    assert list(next(_load(dataset, dataset, two_by_two(by_name=True)).train.batches(6))[0]) == ["left", "right"]


def test_a_shuffling_dataset_is_split_without_overlap():
    loaded = load_data(PLAIN.shuffle(12).batch(5), classifier(), validation_fraction=0.25)
    train, validation = ([tuple(row) for row in part.inputs(99)[0]] for part in (loaded.train, loaded.validation))
    assert (len(train), len(validation)) == (9, 3)
    assert set(train) | set(validation) == {tuple(row) for row in X.astype(np.float32)}
    assert sorted(loaded.validation.label_sample(9, 0)) == [0, 1, 2]


def test_too_large_to_split(monkeypatch):
    monkeypatch.setattr("edgeprune.data.dataset._MEMORY_LIMIT_BYTES", 100)
    with pytest.raises(InputError, match="give a validation dataset too"):
        load_data(PLAIN, classifier())


def test_fingerprints():
    plain = _load(PLAIN).train.fingerprint()
    assert plain == _load(tf.data.Dataset.from_tensor_slices((X, Y))).train.fingerprint()
    assert plain != _load(tf.data.Dataset.from_tensor_slices((X + 1, Y))).train.fingerprint()
    shuffled = [_load(PLAIN.shuffle(12)).train.fingerprint() for _ in range(2)]
    assert shuffled[0] == shuffled[1]


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        (PLAIN.repeat(), "never ends"),
        (PLAIN.take(0), "is empty"),
        (PLAIN.map(lambda x, y: x), "one part"),
        (PLAIN.map(lambda x, y: (x, y, 1.0)), "3 parts"),
        (PLAIN.map(lambda x, y: (x[:3], y)), "(3,)"),
        (PLAIN.map(lambda x, y: (x, y + 1)), "labels 1..3"),
        (PLAIN.map(lambda x, y: (tf.cast(x, tf.float32) / 0.0, y)), "data (training): x contains"),
        (PLAIN.map(lambda x, y: (x, y // 0)), "dataset failed"),
        (PLAIN.map(lambda x, y: (tf.RaggedTensor.from_tensor(x[None]), y)), "only dense tensors"),
    ],
)
def test_refusals(dataset, expected):
    with pytest.raises(InputError) as caught:
        _load(dataset)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
