"""What every test tier shares: one marker per test, quiet TensorFlow, one seed."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import numpy as np
import pytest

from edgeprune.quiet import silence

TIERS = {"unit", "keras", "zoo", "browser", "packaging", "emulator", "device"}
SEED = 1234


def pytest_configure(config: pytest.Config) -> None:
    """Load TensorFlow without its noise, except for the unit tier, which runs without TensorFlow."""
    if config.getoption("markexpr") not in ("unit", "browser", "packaging"):
        silence()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Under `-m TIER`, don't even import the test modules of other tiers: unit tests run without TensorFlow."""
    wanted = config.getoption("markexpr")
    if wanted not in TIERS or not collection_path.match("test_*.py"):
        return None
    named = {tier for tier in TIERS if f"mark.{tier}" in collection_path.read_text(encoding="utf-8")}
    # A module that names no tier is imported, so that the check below refuses it.
    return True if named and wanted not in named else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse tests without a tier, or in two: `make test` selects by marker and would run them never, or twice."""
    for item in items:
        found = sorted(TIERS & {mark.name for mark in item.iter_markers()})
        if len(found) != 1:
            raise pytest.UsageError(f"{item.nodeid} needs one tier marker, has {found}; allowed: {sorted(TIERS)}")


@pytest.fixture(autouse=True)
def seeded() -> None:
    """The same random numbers in every test, whichever tests run before it."""
    random.seed(SEED)
    np.random.seed(SEED)
    # Only where a test module has imported it: the unit tier runs without TensorFlow.
    if "keras" in sys.modules:
        sys.modules["keras"].utils.set_random_seed(SEED)
