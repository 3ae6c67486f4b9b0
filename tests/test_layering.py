"""The layers of ARCHITECTURE.md: import-linter checks them against .importlinter."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parent.parent

# The packages whose modules may load TensorFlow or Keras when they are imported; all others only inside functions.
HEAVY = {"graph", "importance", "recover", "export", "validate", "pipeline"}
# A subclass of a Keras class; the functions that need it import it.
HEAVY_MODULES = {"edgeprune.data.keras_dataset", "edgeprune.sparsity.callback"}

IMPORT_AND_LOOK = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
    loaded = {"tensorflow", "keras", "tf_keras"} & sys.modules.keys()
    if loaded:
        sys.exit(f"importing {name} loads {', '.join(sorted(loaded))}")
"""


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("lint-imports")
    command = [str(program), "--no-cache", "--config", str(ROOT / ".importlinter")]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)


def light_modules() -> list[str]:
    modules = []
    for path in sorted((ROOT / "edgeprune").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        # __main__ runs the command line; HEAVY is looked up by the name below edgeprune.
        if parts[1] not in HEAVY | {"__main__"}:
            modules.append(".".join(parts).removesuffix(".__init__"))
    return [module for module in modules if module not in HEAVY_MODULES]


def import_and_look(modules: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", IMPORT_AND_LOOK, *modules], cwd=ROOT, capture_output=True, text=True, timeout=60
    )


def test_the_layers_hold() -> None:
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("importer", "line"),
    [
        ("graph/__init__.py", "import edgeprune.export"),  # a stage knows another
        ("errors.py", "import edgeprune.target"),  # upwards
        ("report/__init__.py", "def f():\n    import tensorflow"),  # even inside a function
    ],
)
def test_a_breach_is_seen(tmp_path: Path, importer: str, line: str) -> None:
    shutil.copytree(ROOT / "edgeprune", tmp_path / "edgeprune", ignore=shutil.ignore_patterns("__pycache__"))
    with open(tmp_path / "edgeprune" / importer, "a", encoding="utf-8") as source:
        source.write(f"\n{line}\n")
    done = lint_imports(tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "BROKEN" in done.stdout


def test_light_modules_load_no_tensorflow() -> None:
    modules = light_modules()
    assert {"edgeprune", "edgeprune.cli.main", "edgeprune.target", "edgeprune.data"} <= set(modules)
    done = import_and_look(modules)
    assert done.returncode == 0, done.stderr


def test_loading_tensorflow_would_be_seen(tmp_path: Path) -> None:
    (tmp_path / "keras.py").write_text("")
    script = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{IMPORT_AND_LOOK}"
    done = subprocess.run([sys.executable, "-c", script, "keras"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr.strip()) == (1, "importing keras loads keras")
