"""A virtual environment on the board, made by its own pip from wheels in a folder: the network is never asked."""

from __future__ import annotations

import shlex
import sys
import sysconfig
import zipfile
from contextlib import closing
from pathlib import Path

import pytest

from edgeprune.device.ssh.address import parse_address
from edgeprune.device.ssh.agent import READY
from edgeprune.device.ssh.transport import SshTransport
from edgeprune.errors import DeviceError

pytestmark = pytest.mark.device


def wheel(folder: Path, name: str, version: str, *, lends: str | None = None) -> None:
    """An empty package; with `lends` one that lets Python find the packages in that folder."""
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{module}-{version}-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        if lends:
            archive.writestr(f"{module}.pth", lends + "\n")
        archive.writestr(f"{info}/RECORD", "")


@pytest.fixture
def bare(tmp_path: Path) -> str:
    """A Python of the board without numpy and runtime."""
    import venv

    venv.create(tmp_path / "bare", with_pip=False)
    return str(tmp_path / "bare/bin/python")


@pytest.fixture
def wheels(board, tmp_path: Path) -> Path:
    """The only place where the board's pip finds packages."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    board.fault.write_text(f"export PIP_NO_INDEX=1 PIP_FIND_LINKS={shlex.quote(str(folder))} PIP_NO_CACHE_DIR=1\n")
    return folder


def test_the_runtime_is_installed_once_and_then_found(board, request_for, bare, wheels):
    wheel(wheels, "ai-edge-litert", "2.3.0", lends=sysconfig.get_paths()["purelib"])
    wheel(wheels, "numpy", "1.26.4")
    spec = board.spec(python=bare, runtime="ai-edge-litert==2.3.0")
    with closing(SshTransport(parse_address(spec), install=True)) as transport:
        assert transport.run(request_for).runtime == "ai-edge-litert 2.3.0"
    assert (board.home / ".cache/edgeprune/venv-ai-edge-litert-2.3.0" / READY).is_file()
    assert board.remains() == []
    assert not list(board.home.rglob("*.lock"))
    # Found by itself; the board's own python3 would not do.
    with closing(SshTransport(parse_address(board.spec(python="")))) as transport:
        assert transport.run(request_for).rounds_ms
        assert "venv-ai-edge-litert-2.3.0" in str(transport._python)


def test_pips_last_word_is_quoted_and_nothing_stays(board, request_for, bare, wheels):
    spec = board.spec(python=bare, runtime="tflite-runtime==2.14.0")
    with closing(SshTransport(parse_address(spec), install=True)) as transport, pytest.raises(DeviceError) as caught:
        transport.run(request_for)
    line = str(caught.value)
    assert "tflite-runtime==2.14.0 can't be installed on" in line
    assert "No matching distribution found for tflite-runtime==2.14.0" in line
    assert "\n" not in line
    assert list((board.home / ".cache/edgeprune").iterdir()) == []


def test_nothing_is_installed_where_a_runtime_works(board, request_for):
    with closing(SshTransport(parse_address(board.spec()), install=True)) as transport:
        assert transport.run(request_for).rounds_ms
    assert list((board.home / ".cache/edgeprune").iterdir()) == []


def test_a_python_without_venv_says_so(board, request_for, bare, wheels, tmp_path):
    python = tmp_path / "python"
    # Python takes what it was called as for its own path.
    python.write_text(
        "#!/bin/bash\n"
        'if [ "$2" = venv ]; then echo "ensurepip is not available: apt install python3-venv"; exit 1; fi\n'
        f'exec -a {shlex.quote(str(python))} {shlex.quote(bare)} "$@"\n'
    )
    python.chmod(0o755)
    transport = SshTransport(parse_address(board.spec(python=str(python))), install=True)
    said = "creating a virtual environment failed: ensurepip is not available"
    with closing(transport), pytest.raises(DeviceError, match=said):
        transport.run(request_for)
    assert board.remains() == []


def test_this_python_is_not_the_bare_one(bare):
    """Else the tests above would prove nothing."""
    import subprocess

    done = subprocess.run([bare, "-c", "import numpy"], capture_output=True, timeout=30)
    assert done.returncode != 0
    assert sys.executable != bare
