"""The TFLite runtime of a board: wheels for arm64 from the user's own package index."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

from edgeprune.boards.cache import Recipe
from edgeprune.boards.command import run_command
from edgeprune.boards.root import GLIBC_MINOR, PYTHON
from edgeprune.errors import DeviceError, InputError, nearest
from edgeprune.target import VERSION, Runtime

# package -> what it needs beyond its own requirements, which name no upper limit
RUNTIMES: dict[str, tuple[str, ...]] = {"ai-edge-litert": (), "tflite-runtime": ("numpy<2",)}
_DOWNLOAD_SECS = 900.0


def parse_runtime(text: str) -> Runtime:
    """ "PACKAGE==VERSION" as a runtime.

    Raises:
        InputError: another form, or a package that is not a TFLite runtime.
    """
    package, separator, version = text.partition("==")
    if not separator or not VERSION.fullmatch(version):
        raise InputError(f'a runtime is PACKAGE==VERSION, such as "ai-edge-litert==2.3.0", received "{text}"')
    if package not in RUNTIMES:
        raise InputError(f'unknown runtime "{package}"; {nearest(package, RUNTIMES)}')
    return Runtime(package, version)


def platform_tags() -> tuple[str, ...]:
    """The platforms of wheels that the board's glibc can load; pip matches each number exactly."""
    return ("manylinux2014_aarch64", *(f"manylinux_2_{minor}_aarch64" for minor in range(17, GLIBC_MINOR + 1)))


def pip_arguments(runtime: Runtime, folder: Path) -> list[str]:
    """The command that downloads the runtime and what it needs into `folder`."""
    platforms = [argument for tag in platform_tags() for argument in ("--platform", tag)]
    return [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"),
        *("--only-binary=:all:", "--implementation", "cp", "--python-version", PYTHON),
        *platforms,
        *("--dest", str(folder), f"{runtime.package}=={runtime.version}", *RUNTIMES[runtime.package]),
    ]


def runtime_recipe(runtime: Runtime) -> Recipe:
    """How the folder of a runtime is made; it goes into the board's PYTHONPATH."""

    def download(archives: Path) -> None:
        doing = f"downloading {runtime.package} {runtime.version} for arm64 and Python {PYTHON}"
        run_command(pip_arguments(runtime, archives), doing, timeout_secs=_DOWNLOAD_SECS)

    def build(archives: Path, tree: Path) -> None:
        for wheel in sorted(archives.glob("*.whl")):
            try:
                with zipfile.ZipFile(wheel) as opened:
                    opened.extractall(tree)
            except zipfile.BadZipFile as error:
                raise DeviceError(f"{wheel.name} is damaged ({error}); run the setup again") from error

    return Recipe({"runtime": f"{runtime.package}=={runtime.version}", "python": PYTHON}, download, build)
