"""The wheel: built from the checkout, installed where nothing heavy is, run from another folder. Needs no network."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.packaging

ROOT = Path(__file__).resolve().parent.parent
# What `edgeprune targets` needs, and nothing that needs TensorFlow; tomli on Python 3.10 only.
LIGHT_REQUIREMENTS = ("click", "rich", *(["tomli"] if sys.version_info < (3, 11) else []))


def run(command: list[str], cwd: Path, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, cwd=cwd, env=clean_environment(), capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done


def clean_environment() -> dict[str, str]:
    """Without what would let the checkout's own edgeprune be found."""
    return {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the tracked layout so that no build/ folder is left in the checkout."""
    source = tmp_path_factory.mktemp("source")
    for name in ("edgeprune", "targets"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    output = tmp_path_factory.mktemp("wheel")
    pip_wheel = [
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "-w",
        str(output),
        str(source),
    ]
    run([sys.executable, *pip_wheel], cwd=output)
    (built,) = output.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def clean_venv(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a virtual environment with the wheel and LIGHT_REQUIREMENTS, nothing else.

    The requirements are copied from this environment rather than downloaded: the test runs offline.
    """
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=True)
    (site_packages,) = folder.glob("lib/python3.*/site-packages")
    for name in with_requirements(LIGHT_REQUIREMENTS):
        copy_distribution(name, site_packages)
    run([str(folder / "bin" / "python"), "-m", "pip", "install", "--no-deps", "--no-index", str(wheel)], cwd=folder)
    return folder / "bin"


def with_requirements(names: tuple[str, ...]) -> set[str]:
    """`names` and all that they require, extras left out."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        for requirement in importlib.metadata.requires(name) or []:
            project = re.match(r"[A-Za-z0-9._-]+", requirement)
            if ";" not in requirement and project is not None:
                waiting.append(project.group().lower())
    return found


def copy_distribution(name: str, site_packages: Path) -> None:
    files = importlib.metadata.files(name)
    assert files, f"{name} is not installed"
    for file in files:
        if ".." not in file.parts and "__pycache__" not in file.parts:  # not the scripts in ../../bin
            destination = site_packages / file
            destination.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file.locate(), destination)


def test_the_wheel_holds_every_board_and_the_typing_marker(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    boards = {f"edgeprune/_targets/{path.name}" for path in ROOT.glob("targets/*.toml")}
    assert len(boards) >= 9
    assert {name for name in names if name.startswith("edgeprune/_targets/")} == boards
    assert "edgeprune/py.typed" in names


def test_the_wheel_holds_every_module_and_template_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    sources = {str(path.relative_to(ROOT)) for path in ROOT.glob("edgeprune/**/*.py")}
    templates = {str(path.relative_to(ROOT)) for path in ROOT.glob("edgeprune/report/templates/*") if path.is_file()}
    assert sources | templates | {"edgeprune/boards/counter.c"} <= names
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"edgeprune"}


def test_targets_list_runs_from_another_folder(clean_venv: Path, tmp_path: Path) -> None:
    listed = run([str(clean_venv / "edgeprune"), "targets", "list"], cwd=tmp_path, timeout=60).stdout
    for board in ROOT.glob("targets/*.toml"):
        assert board.stem in listed


def test_the_clean_venv_runs_the_installed_package_without_tensorflow(clean_venv: Path, tmp_path: Path) -> None:
    script = (
        "import edgeprune, importlib.util; print(edgeprune.__file__); "
        "print([name for name in ('tensorflow', 'keras', 'numpy') if importlib.util.find_spec(name)])"
    )
    file, heavy = run([str(clean_venv / "python"), "-c", script], cwd=tmp_path, timeout=60).stdout.splitlines()
    assert Path(file).is_relative_to(clean_venv.parent)
    assert heavy == "[]"
