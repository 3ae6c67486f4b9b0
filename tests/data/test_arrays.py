"""Array splits: order, casting, draws and fingerprints."""

import numpy as np
import pytest

from edgeprune.data.arrays import ArraySplit
from tests.data.signatures import classifier, two_by_two

pytestmark = pytest.mark.unit


def _split(count=10, **signature):
    x = np.arange(count * 4, dtype=np.uint8).reshape(count, 4)
    return ArraySplit.checked((x,), (np.arange(count) % 3,), classifier(**signature))


def test_batches_keep_the_order_and_stop_at_the_limit():
    batches = list(_split().batches(4, limit=7))
    assert [len(x) for x, _ in batches] == [4, 3]
    x = np.concatenate([x for x, _ in batches])
    assert x.dtype == np.float32
    np.testing.assert_array_equal(x, np.arange(28).reshape(7, 4))
    np.testing.assert_array_equal(np.concatenate([y for _, y in batches]), [0, 1, 2, 0, 1, 2, 0])
    assert sum(len(x) for x, _ in _split().batches(4)) == 10


def test_subsets_share_the_arrays_and_nest():
    split = _split()
    part = split.subset(np.array([1, 3, 5])).subset(np.array([2, 0]))
    assert part.size == 2
    np.testing.assert_array_equal(part.inputs(9)[0][:, 0], [20, 4])
    assert part._x[0] is split._x[0]


def test_several_inputs_and_outputs_are_tuples_or_dictionaries():
    x = (np.ones((5, 2)), np.zeros((5, 3)))
    y = (np.array([0, 1, 2, 3, 0]), np.arange(5))
    batch_x, batch_y = next(ArraySplit.checked(x, y, two_by_two()).batches(5))
    assert [part.shape for part in batch_x] == [(5, 2), (5, 3)]
    assert batch_y[0].dtype == np.int32
    np.testing.assert_array_equal(batch_y[1], [[0], [1], [2], [3], [4]])
    named, _ = next(ArraySplit.checked(x, y, two_by_two(by_name=True)).batches(5))
    assert list(named) == ["left", "right"]


def test_draws_are_seeded_and_balanced():
    split = _split(300)
    labels = split.label_sample(30, seed=1)
    assert np.bincount(labels).tolist() == [10, 10, 10]
    first, again, other = (split.sample(30, seed)[0].tolist() for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert len(split.sample(1000, 0)[0]) == 300


def test_fingerprints_follow_the_content_and_the_order():
    split = _split()
    assert split.fingerprint() == _split().fingerprint()
    assert split.fingerprint() == split.subset(np.arange(10)).fingerprint()
    assert split.fingerprint() != split.subset(np.arange(10)[::-1]).fingerprint()
    changed = np.arange(40, dtype=np.uint8).reshape(10, 4)
    changed[9, 3] += 1
    other = ArraySplit.checked((changed,), (np.arange(10) % 3,), classifier())
    assert split.fingerprint() != other.fingerprint()
