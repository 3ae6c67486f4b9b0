"""The examples in docstrings are true; modules that load TensorFlow when they are imported are left to their tests."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

from tests.test_layering import HEAVY, HEAVY_MODULES

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parent.parent


def modules_with_examples() -> list[str]:
    found = []
    for path in sorted((ROOT / "edgeprune").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts).removesuffix(".__init__")
        if parts[1] not in HEAVY and name not in HEAVY_MODULES and ">>> " in path.read_text(encoding="utf-8"):
            found.append(name)
    return found


def test_the_modules_are_found():
    assert {"edgeprune.errors", "edgeprune.plan.levels"} <= set(modules_with_examples())


@pytest.mark.parametrize("name", modules_with_examples())
def test_examples(name):
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0
