"""What every test tier shares: one marker per test, quiet TensorFlow, one seed, no shared cache."""

from __future__ import annotations

import random
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgeprune.quiet import silence

TIERS = {"unit", "keras", "zoo", "browser", "packaging", "emulator", "device"}
SEED = 1234


def pytest_configure(config: pytest.Config) -> None:
    """Take Ctrl-C, and load TensorFlow without its noise, except for the unit tier, which runs without TensorFlow."""
    # Started in the background by a shell, a process ignores Ctrl-C, and so would everything it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
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


@pytest.fixture(scope="session")
def board_cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The cache folder in which the emulator tier sets boards up, each part once."""
    return str(tmp_path_factory.mktemp("boards"))


@pytest.fixture(scope="session", autouse=True)
def cache_of_wider_fixtures(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fixtures of a module or session don't write to the user's cache either; subprocesses inherit the variable."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        # a developer's own calibration must not change predictions
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        yield


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder of the test's own: no test finds what another measured."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


@pytest.fixture(autouse=True)
def seeded() -> None:
    """The same random numbers in every test, whichever tests run before it."""
    random.seed(SEED)
    np.random.seed(SEED)
    # Only where a test module has imported it: the unit tier runs without TensorFlow.
    if "keras" in sys.modules:
        sys.modules["keras"].utils.set_random_seed(SEED)
