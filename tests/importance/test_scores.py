"""L1, random, the table of criteria and the sums per unit, on arrays small enough to add up by hand."""

from __future__ import annotations

import numpy as np
import pytest

from edgeprune.errors import InputError
from edgeprune.importance.aggregate import per_unit
from edgeprune.importance.table import CRITERIA, check_aggregate, criterion, normalization, per_group, score_units
from edgeprune.records.importance import UnitWeight

pytestmark = pytest.mark.unit


def weight(values, axis: int, units: list[int], role: str = "kernel") -> UnitWeight:
    return UnitWeight("layer", np.array(values, dtype=np.float32), role, axis, np.array(units))


def test_l1_adds_absolute_kernel_weights():
    """A 1x1 kernel, two inputs, three outputs: columns (1, -2), (0, 0.5), (-3, 0). Bias and norm don't count."""
    kernel = weight([[[[1.0, 0.0, -3.0], [-2.0, 0.5, 0.0]]]], 3, [4, 5, 6])
    others = [weight([9.0, 9.0, 9.0], 0, [4, 5, 6], role) for role in ("bias", "norm")]
    found = score_units("l1", [kernel, *others], 7)
    assert found.tolist() == [0, 0, 0, 0, 3.0, 0.5, 3.0]
    assert found.dtype == np.float64


def test_units_of_coupled_layers_add_up():
    """Two layers whose outputs are added make the same units; one of them in another order."""
    first, second = weight([[1.0, 2.0]], 1, [0, 1]), weight([[10.0, 20.0]], 1, [1, 0])
    assert score_units("l1", [first, second], 2).tolist() == [21.0, 12.0]


def test_a_unit_may_lie_at_many_places_of_one_axis():
    """Flattened 2x2 positions of two channels, or a depth multiplier: indices that share a unit are added."""
    scores = np.arange(8.0)
    assert per_unit([(scores, 0, np.array([0, 1] * 4))], 3).tolist() == [0 + 2 + 4 + 6, 1 + 3 + 5 + 7, 0]
    assert per_unit([(scores.reshape(2, 4), 1, np.array([0, 0, 1, 1]))], 2).tolist() == [
        0 + 1 + 4 + 5,
        2 + 3 + 6 + 7,
    ]


def test_sums_are_taken_in_double_precision():
    """2^24 ones and a one more: float32 would lose it."""
    scores = np.ones((2**24 + 1, 1), dtype=np.float32)
    assert per_unit([(scores, 1, np.array([0]))], 1)[0] == 2**24 + 1


def test_random_is_the_seeds():
    first, again, other = (score_units("random", [], 50, seed=seed) for seed in (1, 1, 2))
    assert first.tolist() == again.tolist()
    assert first.tolist() != other.tolist()
    assert (first > 0).all()
    assert (first <= 1).all()
    assert len(set(first)) == 50


def test_scores_of_groups_are_divided_by_their_mean_where_scales_differ():
    scores = np.array([9.0, 1.0, 3.0, 100.0, 300.0])
    groups = (np.array([1, 2]), np.array([3, 4]))
    assert [own.tolist() for own in per_group(scores, groups, "mean")] == [[0.5, 1.5], [0.5, 1.5]]
    assert [own.tolist() for own in per_group(scores, groups, "none")] == [[1.0, 3.0], [100.0, 300.0]]


def test_a_group_of_zeros_stays_zero():
    assert per_group(np.zeros(3), (np.array([0, 1, 2]),), "mean")[0].tolist() == [0, 0, 0]


def test_unknown_criteria_name_the_nearest():
    with pytest.raises(InputError, match='unknown criterion "tailor"; did you mean "taylor"'):
        criterion("tailor")
    assert all(criterion(name).name == name for name in CRITERIA)


def test_aggregates_over_the_variables_of_a_unit():
    """Unit 0 is made by two variables (1 + 2 = 3 and -5), unit 1 by the first alone (4 + 4 = 8)."""
    scored = [(np.array([[1.0, 4.0], [2.0, 4.0]]), 1, np.array([0, 1])), (np.array([-5.0]), 0, np.array([0]))]
    assert per_unit(scored, 2, "sum").tolist() == [-2.0, 8.0]
    assert per_unit(scored, 2, "mean").tolist() == [-1.0, 8.0]
    assert per_unit(scored, 2, "max").tolist() == [5.0, 8.0]


def test_groups_are_divided_by_their_sum_or_max():
    scores, groups = np.array([1.0, 3.0]), (np.array([0, 1]),)
    assert per_group(scores, groups, "sum")[0].tolist() == [0.25, 0.75]
    assert per_group(scores, groups, "max")[0].tolist() == [1 / 3, 1.0]


def test_auto_normalizes_criteria_whose_scale_differs_between_layers():
    assert normalization("l1", "auto") == "mean"
    assert normalization("taylor", "auto") == "none"
    assert normalization("taylor", "max") == "max"


def test_unknown_choices_name_the_nearest():
    with pytest.raises(InputError, match='unknown normalization "maxx"; did you mean "max"'):
        normalization("l1", "maxx")
    with pytest.raises(InputError, match='unknown aggregation "mena"; did you mean "mean"'):
        check_aggregate("mena")
