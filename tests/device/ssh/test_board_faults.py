"""What may be missing or broken on a board: found before anything is pushed, and said in one line."""

from __future__ import annotations

import shlex
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from edgeprune.device.ssh.address import parse_address
from edgeprune.device.ssh.transport import SshTransport
from edgeprune.errors import DeviceError
from tests.device.contract import HOSTILE

pytestmark = pytest.mark.device


def failure(board, request, **options):
    transport = SshTransport(parse_address(board.spec(**options)), retry_waits_secs=())
    with closing(transport), pytest.raises(DeviceError) as caught:
        transport.run(request)
    assert "\n" not in str(caught.value)
    assert not (board.home / ".cache").exists(), "something was pushed"
    assert board.remains() == []
    return str(caught.value)


def bare_python(folder: Path, *modules: Path) -> str:
    """A Python without packages but for links to `modules`."""
    import venv

    venv.create(folder, with_pip=False)
    site = next(folder.glob("lib/python3*/site-packages"))
    for module in modules:
        (site / module.name).symlink_to(module)
    return str(folder / "bin" / "python")


def numpy_folders() -> list[Path]:
    """What numpy needs from the packages here."""
    package = Path(np.__file__).parent
    return [package, *package.parent.glob("numpy.libs")]


def stand_in_runtime(site: Path, code: str) -> Path:
    package = site / "ai_edge_litert"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "interpreter.py").write_text(code)
    return package


def test_no_python_where_it_was_said_to_be(board, request_for):
    line = failure(board, request_for, python="/opt/none/bin/python3")
    assert "there is no Python at /opt/none/bin/python3 on" in line


def test_no_python_at_all(board, request_for):
    board.fault.write_text('PATH=/nonexistent\nexec /bin/sh -c "exec /bin/${SSH_ORIGINAL_COMMAND#exec }"\n')
    assert "there is no python3 on" in failure(board, request_for, python="")


def test_a_python_that_is_too_old(board, request_for, tmp_path):
    old = tmp_path / "python"
    old.write_text('#!/bin/sh\necho "$4 {\\"version\\": [3, 7, 3], \\"executable\\": \\"/usr/bin/python3\\"}"\n')
    old.chmod(0o755)
    assert "is Python 3.7.3; edgeprune needs 3.9" in failure(board, request_for, python=str(old))


def test_a_python_that_does_not_start(board, request_for, tmp_path):
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho 'libpython3.11.so.1.0: cannot open shared object file' >&2\nexit 127\n")
    broken.chmod(0o755)
    line = failure(board, request_for, python=str(broken))
    assert "does not start" in line
    assert "libpython3.11.so.1.0" in line


def test_a_login_shell_that_runs_nothing(board, request_for):
    board.fault.write_text("echo This account is currently not available.; exit 1\n")
    line = failure(board, request_for)
    assert 'runs no commands, it answers "This account is currently not available."' in line


def test_no_numpy(board, request_for, tmp_path):
    line = failure(board, request_for, python=bare_python(tmp_path / "venv"))
    assert "numpy is missing" in line
    assert "--install" in line


def test_no_runtime(board, request_for, tmp_path):
    line = failure(board, request_for, python=bare_python(tmp_path / "venv", *numpy_folders()))
    assert "ai-edge-litert and tflite-runtime are missing" in line


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise ImportError('numpy.core.multiarray failed to import')", "numpy.core.multiarray failed to import"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)", "importing it ends with signal 11"),
    ],
)
def test_a_broken_runtime(board, request_for, tmp_path, code, words):
    package = stand_in_runtime(tmp_path, code)
    python = bare_python(tmp_path / "venv", package, *numpy_folders())
    line = failure(board, request_for, python=python)
    assert "ai-edge-litert unknown is broken on" in line
    assert words in line


def test_another_runtime_than_asked_for(board, request_for):
    line = failure(board, request_for, runtime="tflite-runtime==2.14.0")
    assert "asked for is tflite-runtime==2.14.0" in line
    address = parse_address(board.spec(runtime="tflite-runtime==2.14.0"))
    assert line.endswith(f"; {address.installing(request_for.models[0])}")


def test_a_full_disk(board, request_for, ssh_transport):
    # No file may grow beyond two blocks of 512 bytes.
    board.fault.write_text("ulimit -f 2\n")
    with pytest.raises(
        DeviceError, match=r"has no room for the run: runner.py, \d+ bytes in .*: File too large"
    ) as caught:
        ssh_transport.run(request_for)
    assert "\n" not in str(caught.value)
    assert board.remains() == []


def test_a_home_that_can_not_be_written_to(board, request_for, ssh_transport):
    (board.home / ".cache").write_text("a file")
    assert ssh_transport.run(request_for).rounds_ms
    assert board.remains() == []


def test_a_login_that_greets_does_not_disturb(board, request_for, ssh_transport):
    board.fault.write_text("echo Welcome to the board; echo '@edgeprune' >&2\n")
    assert ssh_transport.run(request_for).rounds_ms


def test_no_shell_reads_the_path_of_the_python(board, request_for, tmp_path):
    folder = tmp_path / HOSTILE.replace("\n", "")
    folder.mkdir()
    python = folder / "python $(touch pwned)"
    python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    python.chmod(0o755)
    transport = SshTransport(parse_address(board.spec(python=str(python))))
    assert transport.run(request_for).rounds_ms
    transport.close()
    assert not list(tmp_path.rglob("pwned"))
    assert not list(board.folder.rglob("pwned"))
