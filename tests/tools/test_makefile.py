"""The Makefile in a checkout whose path has a space, with stand-ins for the programs of .venv."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[2]
BUILD = "edgeprune build edgeprune.toml --target rpi4"
# Writes down how it was called; a build without --fresh ends as the file `outcome` says: exit code, then message.
EDGEPRUNE = """
echo "edgeprune $*" >> "$CALLS"
case "$*" in *--fresh*) exit 0 ;; esac
{ read -r code; read -r message; } < "$OUTCOME"
echo "$message" >&2
exit "$code"
"""
OTHER = 'echo "${0##*/} $*" >> "$CALLS"\n'


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The Makefile, a trained example and the programs."""
    folder = tmp_path / "with space" / "x"
    work = folder / "examples" / "digits" / "work"
    work.mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", folder)
    programs = dict.fromkeys(("python", "ruff", "mypy"), OTHER) | {"edgeprune": EDGEPRUNE}
    scripts = {folder / ".venv" / "bin" / name: text for name, text in programs.items()}
    scripts |= {folder / "tools" / name: "exit 0\n" for name in ("setup_venv.sh", "install_system.sh")}
    for path, text in scripts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/bash\n" + text)
        path.chmod(0o755)
    (work.parent / "train.py").touch()
    return folder


def make(checkout: Path, goal: str, outcome: str = "0\n\n") -> tuple[int, list[str], str]:
    """(exit code, the calls of programs, stderr)."""
    (checkout / "outcome").write_text(outcome)
    environment = {
        "PATH": "/usr/bin:/bin",
        "CALLS": str(checkout / "calls"),
        "OUTCOME": str(checkout / "outcome"),
    }
    done = subprocess.run(
        ["make", goal],
        cwd=checkout,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=30,
    )
    return done.returncode, (checkout / "calls").read_text().splitlines(), done.stderr


def trained(checkout: Path) -> None:
    (checkout / "examples" / "digits" / "work" / "model.keras").touch()


def test_demo_trains_first(checkout):
    code, calls, err = make(checkout, "demo")
    assert code == 0, err
    assert calls == ["python examples/digits/train.py", BUILD]


def test_test_lints_and_runs_the_tests(checkout):
    code, calls, err = make(checkout, "test")
    assert code == 0, err
    assert calls == ["ruff check", "ruff format --check", "mypy ", "python tools/run_tests.py"]


def test_demo_over_another_build_starts_over(checkout):
    trained(checkout)
    code, calls, err = make(checkout, "demo", "2\nedgeprune: work/build holds another build (other data); ...\n")
    assert code == 0, err
    assert (calls[0], calls[-1]) == (BUILD, f"{BUILD} --fresh")
    assert "demo: starting over" in err


@pytest.mark.parametrize(
    "outcome", ["2\nedgeprune: no model\n", "3\nedgeprune: the budget is not met\n", "5\nholds another build\n"]
)
def test_demo_never_throws_a_build_away_for_another_error(checkout, outcome):
    trained(checkout)
    code, calls, err = make(checkout, "demo", outcome)
    assert code != 0
    assert set(calls) == {BUILD}
    assert outcome.splitlines()[1] in err
