"""The board of this folder's tests, and the models that go there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeprune.device.ssh.address import parse_address
from edgeprune.device.ssh.transport import SshTransport
from edgeprune.device.transport import RunRequest
from tests.device.ssh.board import Board
from tests.tflite.model_files import dense_network


@pytest.fixture
def board(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Board]:
    """An sshd that lets this user in, found by `ssh` on this test's PATH."""
    board = Board(tmp_path_factory.mktemp("board"))
    monkeypatch.setenv("PATH", str(board.bin), prepend=":")
    board.start()
    yield board
    board.stop()


@pytest.fixture
def ssh_transport(board: Board) -> Iterator[SshTransport]:
    """Logged in as this user, with this Python; retries at once."""
    transport = SshTransport(parse_address(board.spec()), retry_waits_secs=(0.1, 0.3))
    yield transport
    transport.close()


@pytest.fixture
def request_for(tmp_path: Path) -> RunRequest:
    """A bench request for a small model."""
    path = tmp_path / "small.tflite"
    path.write_bytes(dense_network().pack())
    return RunRequest("bench", (path,), rounds=2, round_secs=0.02, warmup_secs=0.01)
