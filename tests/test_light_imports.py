"""Help, targets and bench answer at once: none of them may load TensorFlow or Keras."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgeprune.cli.main import COMMANDS

pytestmark = pytest.mark.unit

HEAVY = ("tensorflow", "keras", "tf_keras", "tensorflow_model_optimization", "scipy", "plotly")
HELP_LIMIT_SECS = 0.25

# Runs the command line in-process and prints, last, which of the heavy packages it loaded.
PROBE = """
import json, sys
from edgeprune.cli.main import main
try:
    main(sys.argv[2:])
except SystemExit as done:
    code = done.code
else:
    code = 0
heavy = [name for name in sys.argv[1].split(",") if name in sys.modules]
print("\\n" + json.dumps({"code": code or 0, "heavy": heavy}))
"""

LIGHT_COMMAND_LINES = [
    ["--help"],
    ["--version"],
    *([name, "--help"] for name in COMMANDS),
    ["targets", "list"],
    ["targets", "show", "rpi4"],
    ["targets", "list", "--json"],
]


def probe(arguments: list[str], heavy: tuple[str, ...] = HEAVY) -> dict:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, ",".join(heavy), *arguments], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_probe_sees_a_loaded_package() -> None:
    assert probe(["--help"], heavy=("click", "tensorflow")) == {"code": 0, "heavy": ["click"]}


def test_importing_edgeprune_loads_nothing_heavy() -> None:
    script = f"import edgeprune, sys; print([n for n in {HEAVY!r} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr


@pytest.mark.parametrize("arguments", LIGHT_COMMAND_LINES, ids=" ".join)
def test_light_commands_load_nothing_heavy(arguments: list[str]) -> None:
    assert probe(arguments) == {"code": 0, "heavy": []}


def test_help_answers_within_a_quarter_of_a_second() -> None:
    script = Path(sys.executable).with_name("edgeprune")
    program = str(script) if script.exists() else shutil.which("edgeprune")
    assert program is not None, "the console script edgeprune is not installed"
    took = []
    for _ in range(8):
        started = time.perf_counter()
        subprocess.run([program, "--help"], check=True, capture_output=True, timeout=30)
        took.append(time.perf_counter() - started)
    # The best run: the others also measure what else the machine was doing.
    assert min(took) < HELP_LIMIT_SECS, f"runs took {[round(secs, 3) for secs in took]} s"
