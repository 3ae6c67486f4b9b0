"""MirroredStrategy on two devices: zeros stay, and the masks of all replicas are equal."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sparsity.optimizer_cases import CASES

pytestmark = pytest.mark.keras


def test_both_replicas_keep_the_same_zeros() -> None:
    script = Path(__file__).with_name("replicas.py")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert set(found) > {case.name for case in CASES if case.replicable}
    failed = {name: facts for name, facts in found.items() if not all(all(values) for values in facts.values())}
    assert not failed
