"""tests/conftest.py keeps tests away from the user's cache and from each other's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

WHERE = "import os; print(os.environ['XDG_CACHE_HOME'])"


@pytest.fixture(scope="module")
def seen_by_module_fixture() -> Path:
    return Path(os.environ["XDG_CACHE_HOME"])


@pytest.mark.parametrize("time", ["first", "second"])
def test_every_test_has_an_empty_cache(time):
    folder = Path(os.environ["XDG_CACHE_HOME"])
    assert list(folder.iterdir()) == []
    (folder / "left").touch()


def test_no_cache_is_the_users(seen_by_module_fixture, own_cache, tmp_path_factory):
    base = tmp_path_factory.getbasetemp()
    assert seen_by_module_fixture.parent == own_cache.parent == base
    assert seen_by_module_fixture != own_cache


def test_subprocesses_inherit_it(own_cache):
    done = subprocess.run([sys.executable, "-c", WHERE], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == str(own_cache)
