"""Properties of the validation split for any labels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeprune.data.stratify import sample_indices, split_indices
from edgeprune.errors import InputError

pytestmark = pytest.mark.unit

LABELS = st.lists(st.integers(0, 6), min_size=2, max_size=200).filter(lambda labels: len(set(labels)) < len(labels))
FRACTION = st.floats(0.01, 0.99)


@given(LABELS, FRACTION, st.integers(0, 2**32))
def test_disjoint_complete_and_every_class_is_trained(labels, fraction, seed):
    classes = np.array(labels)
    train, validation = split_indices(len(labels), classes, fraction, seed)
    assert sorted([*train, *validation]) == list(range(len(labels)))
    assert len(validation) >= 1
    assert set(classes[train]) == set(labels)


@given(LABELS, FRACTION, st.integers(0, 1000))
def test_the_share_of_each_class_is_fair(labels, fraction, seed):
    classes = np.array(labels)
    _, validation = split_indices(len(labels), classes, fraction, seed)
    wanted = min(max(1, round(len(labels) * fraction)), len(labels) - len(set(labels)))
    assert len(validation) == wanted
    sizes = {label: labels.count(label) for label in set(labels)}
    capped = any(wanted * size / len(labels) > size - 1 for size in sizes.values())
    for label, size in sizes.items():
        share = wanted * size / len(labels)
        got = int((classes[validation] == label).sum())
        assert got <= size - 1
        assert got > min(share, size - 1) - 1
        if not capped:
            assert got < share + 1


@given(st.integers(2, 100), FRACTION, st.integers(0, 100))
def test_plain_random_split(count, fraction, seed):
    train, validation = split_indices(count, None, fraction, seed)
    assert sorted([*train, *validation]) == list(range(count))
    assert len(train) >= 1
    assert len(validation) >= 1


def test_the_seed_decides():
    labels = np.arange(300) % 3
    first, again, other = (split_indices(300, labels, 0.2, seed)[1] for seed in (1, 1, 2))
    assert list(first) == list(again)
    assert list(first) != list(other)


@pytest.mark.parametrize("labels", [[0], [0, 1, 2]])
def test_too_few_samples(labels):
    with pytest.raises(InputError, match="too few"):
        split_indices(len(labels), np.array(labels), 0.2, 0)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -1.0, float("nan")])
def test_fraction_out_of_range(fraction):
    with pytest.raises(InputError, match="validation fraction"):
        split_indices(10, None, fraction, 0)


@given(LABELS, st.integers(1, 300), st.integers(0, 100))
def test_a_draw_is_proportional(labels, wanted, seed):
    classes = np.array(labels)
    drawn = sample_indices(len(labels), classes, wanted, seed)
    taken = min(wanted, len(labels))
    assert len(drawn) == len(set(drawn)) == taken
    for label in set(labels):
        assert abs((classes[drawn] == label).sum() - taken * labels.count(label) / len(labels)) < 1
