"""tools/adb_benchmark.py against a stand-in phone behind the real adb client."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

# Fixtures: pytest finds them by these names.
from tests.device.adb.conftest import (  # noqa: F401
    behave,
    binary,
    calls,
    models,
    new_phone,
    phone,
    server,
    shared_server,
)

pytestmark = pytest.mark.device

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "adb_benchmark.py"
SHORT = ("--secs", "0.02", "--warmup-secs", "0.01")


def script(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, arguments)], capture_output=True, text=True, timeout=60
    )


def test_two_models(request, tmp_path):
    standin, program, paths = (request.getfixturevalue(name) for name in ("phone", "binary", "models"))
    done = script(
        *paths, "--serial", standin.serial, "--binary", program, "--threads", 4, "--json", tmp_path / "o", *SHORT
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "o").read_text())
    # The stand-in's mean is 1000.25 us and one more with each process; the models take turns, five times by default.
    assert [model["samples_ms"][:2] for model in found["models"]] == [[1.00025, 1.00225], [1.00125, 1.00325]]
    assert [model["median_ms"] for model in found["models"]] == [1.00425, 1.00525]
    assert [len(model["processes"]) for model in found["models"]] == [5, 5]
    assert found["models"][0]["processes"][0]["inference"]["count"] == 20
    assert found["models"][0]["memory_mb"] == 65.6094
    assert found["cores"] == [4, 5, 6, 7]
    assert found["device"] == f"adb:{standin.serial} (Standin 4, Android 13)"
    assert "first.tflite" in done.stdout
    assert "1.004" in done.stdout
    assert standin.remains() == []


def test_switches_reach_the_program(request):
    standin, program, paths = (request.getfixturevalue(name) for name in ("phone", "binary", "models"))
    done = script(paths[0], "--binary", program, "--runs", 1, "--no-xnnpack", "--gpu", *SHORT)
    assert done.returncode == 0, done.stderr
    (flags,) = calls(standin)
    assert (flags["use_xnnpack"], flags["use_gpu"], flags["min_secs"]) == ("false", "true", "0.02")
    assert "not trustworthy: 1 processes" in done.stdout


def test_a_fault_is_one_line_and_writes_nothing(request, tmp_path):
    standin, program, paths = (request.getfixturevalue(name) for name in ("phone", "binary", "models"))
    behave(standin, fault="SIGKILL", at=1)
    done = script(*paths, "--binary", program, "--json", tmp_path / "out.json", *SHORT)
    assert done.returncode == 4
    (line,) = done.stderr.splitlines()
    assert "most likely out of memory" in line
    assert done.stdout == ""
    assert not (tmp_path / "out.json").exists()
    assert standin.remains() == []


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["none.tflite"], 2, "does not exist"),
        (["{model}", "--serial", "-x; touch pwned"], 2, "can't be the serial"),
        (["{model}", "--serial", "R58"], 4, '"R58" not found'),
        (["{model}", "--runs", "0"], 2, "--runs"),
        (["{model}", "--secs", "nan"], 2, "--secs"),
        (["{model}"], 4, "no Android device found"),
    ],
)
def test_wrong_input(request, tmp_path, monkeypatch, arguments, code, words):
    request.getfixturevalue("server")
    model = request.getfixturevalue("models")[0]
    monkeypatch.chdir(tmp_path)
    done = script(*(argument.format(model=model) for argument in arguments))
    assert done.returncode == code
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "pwned").exists()


def test_offline_without_a_program(request):
    request.getfixturevalue("phone")
    done = script(request.getfixturevalue("models")[0], "--offline")
    assert done.returncode == 2
    assert "nothing may be downloaded" in done.stderr


def test_help_needs_nothing():
    code = (
        "import runpy, sys\n"
        "try: runpy.run_path(sys.argv[1], run_name='__main__')\n"
        "except SystemExit as end: print(end.code, 'numpy' in sys.modules, 'edgeprune' in sys.modules)\n"
    )
    # The script's own name stands first in its arguments; --help comes after it.
    command = [sys.executable, "-c", code, str(SCRIPT), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert "--no-xnnpack" in done.stdout
    assert done.stdout.splitlines()[-1] == "0 False False"
