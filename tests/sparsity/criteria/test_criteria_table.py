"""Criteria by name, and what each says about itself."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest

from edgeprune.errors import InputError
from edgeprune.sparsity.criteria.movement import Movement
from edgeprune.sparsity.criteria.table import CRITERIA, as_criterion

pytestmark = pytest.mark.unit


def test_the_names():
    assert set(CRITERIA) == {"magnitude", "lamp", "movement", "taylor", "snip", "grasp", "apoz", "random"}


def test_a_name_gives_the_defaults_and_an_instance_itself():
    assert as_criterion("movement") == Movement(mode="hard", threshold=0.0, penalty=0.0)
    own = Movement(mode="soft", penalty=0.1)
    assert as_criterion(own) is own


def test_what_they_need():
    def having(flag):
        return {name for name, kind in CRITERIA.items() if getattr(kind, flag)}

    assert having("needs_data") == {"snip", "grasp", "apoz"}
    assert having("needs_gradients") == {"movement", "taylor"}
    assert having("regrows") == {"movement"}


@pytest.mark.parametrize("name", CRITERIA)
def test_criteria_are_frozen_values(name):
    criterion = as_criterion(name)
    assert criterion == as_criterion(name)
    assert hash(criterion) == hash(as_criterion(name))
    with pytest.raises(dataclasses.FrozenInstanceError):
        criterion.anything = 1


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("magnitud", 'unknown criterion "magnitud"; did you mean "magnitude"?'),
        ("zzz", "allowed: magnitude, lamp"),
        (Movement, "criterion must be a name .* received <class"),
        (None, "criterion must be a name .* received None"),
    ],
)
def test_mistakes(value, words):
    with pytest.raises(InputError, match=words):
        as_criterion(value)


def test_the_table_loads_no_tensorflow():
    code = (
        "import sys, edgeprune.sparsity.criteria.table; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
