"""The accuracy drop, by hand."""

import pytest

from edgeprune.errors import InputError
from edgeprune.task.drop import drop
from edgeprune.task.options import TaskOptions

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("baseline", "value", "higher", "expected"),
    [
        (0.98, 0.97, True, 0.01),
        (0.5, 0.75, True, -0.25),
        (2.0, 2.1, False, 0.05),
        (2.0, 1.0, False, -0.5),
        (-4.0, -3.0, False, 0.25),
        (0.0, 0.0, False, 0.0),
        (0.0, 1e-12, False, 1.0),
    ],
)
def test_drop(baseline, value, higher, expected):
    assert drop(baseline, value, higher) == pytest.approx(expected)


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_a_learning_rate_must_be_positive(rate):
    with pytest.raises(InputError, match="learning_rate"):
        TaskOptions(learning_rate=rate)
