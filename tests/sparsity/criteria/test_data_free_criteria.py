"""Magnitude and random scores, by hand and by their rules."""

from __future__ import annotations

import numpy as np
import pytest

from edgeprune.sparsity.criteria.lamp import Lamp
from edgeprune.sparsity.criteria.magnitude import Magnitude
from edgeprune.sparsity.criteria.random import Random

pytestmark = pytest.mark.keras


def test_magnitude_is_the_absolute_weight_of_the_moment(linear_model, evidence_of):
    scorer = Magnitude().bind(evidence_of(linear_model))
    assert [score.tolist() for score in scorer.scores()] == [[[2.0], [1.0]]]
    linear_model.set_weights([np.array([[-0.5], [3.0]])])
    (found,) = scorer.scores()
    assert found.tolist() == [[0.5], [3.0]]
    assert found.dtype == np.float32


def test_magnitude_of_half_precision_weights_is_float32(evidence_of):
    import keras

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, dtype="bfloat16")])
    (found,) = Magnitude().bind(evidence_of(model)).scores()
    assert found.dtype == np.float32


def test_lamp_by_hand(evidence_of):
    """3, 2, 1 and 0: 9/9, 4/13, 1/14 and nothing; signs don't count."""
    import keras

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.layers[0].kernel.assign([[2.0], [-3.0], [1.0], [0.0]])
    (found,) = Lamp().bind(evidence_of(model)).scores()
    np.testing.assert_allclose(found.ravel(), [4 / 13, 1, 1 / 14, 0], rtol=1e-6)
    assert found.dtype == np.float32


def two_layers():
    import keras

    return keras.Sequential([keras.Input((50,)), keras.layers.Dense(40), keras.layers.Dense(50)])


def test_random_scores_are_fixed_by_the_seed(evidence_of):
    model = two_layers()
    scorer = Random().bind(evidence_of(model, seed=7))
    first, second = scorer.scores(), scorer.scores()
    again = Random().bind(evidence_of(model, seed=7)).scores()
    other = Random().bind(evidence_of(model, seed=8)).scores()
    for a, b, c, d in zip(first, second, again, other, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)
        assert not np.array_equal(a, d)


def test_random_scores_are_uniform_and_differ_between_layers(evidence_of):
    first, second = Random().bind(evidence_of(two_layers())).scores()
    assert (first.shape, second.shape) == ((50, 40), (40, 50))
    assert not np.array_equal(np.sort(first.ravel()), np.sort(second.ravel()))
    # 4000 draws: the standard error of the mean is 0.0046
    values = np.concatenate([first.ravel(), second.ravel()])
    assert values.min() >= 0.0
    assert values.max() < 1.0
    assert values.mean() == pytest.approx(0.5, abs=0.025)


def test_changing_what_was_handed_out_changes_nothing(linear_model, evidence_of):
    scorer = Random().bind(evidence_of(linear_model))
    before = scorer.scores()[0].copy()
    scorer.scores()[0][:] = -1.0
    np.testing.assert_array_equal(scorer.scores()[0], before)
