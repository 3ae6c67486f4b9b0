"""Logins that fail: one clear line each, and never a question, a password or a key that nobody has seen."""

from __future__ import annotations

import pytest

from edgeprune.device.ssh.address import parse_address
from edgeprune.device.ssh.transport import SshTransport
from edgeprune.errors import DeviceError
from tests.device.ssh.board import USER

pytestmark = pytest.mark.device


def failure(transport, request):
    """The one line that a run ends with."""
    with pytest.raises(DeviceError) as caught:
        transport.run(request)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_nobody_listens(board, ssh_transport, request_for):
    board.stop()
    assert "refuses the connection; is ssh switched on" in failure(ssh_transport, request_for)


def test_a_key_that_the_board_does_not_know(board, ssh_transport, request_for):
    board.use_key("other_key")
    line = failure(ssh_transport, request_for)
    assert f"{USER}@127.0.0.1 accepts none of this user's keys" in line
    assert "Permission denied (publickey)" in line


def test_a_board_that_wants_a_password(board, ssh_transport, request_for):
    board.stop()
    board.start("PubkeyAuthentication no", "PasswordAuthentication yes")
    line = failure(ssh_transport, request_for)
    assert (
        f"wants a password, which edgeprune never asks for; install your key there: ssh-copy-id -p {board.port}" in line
    )


def test_a_host_key_that_was_never_seen_is_not_accepted(board, ssh_transport, request_for):
    """Although the config of the test says StrictHostKeyChecking no."""
    board.know_host(None)
    line = failure(ssh_transport, request_for)
    assert "is not known, and is never accepted unseen" in line
    assert f"ssh -p {board.port} {USER}@127.0.0.1" in line
    assert board.known_hosts.read_text() == ""


def test_a_host_key_that_has_changed(board, ssh_transport, request_for):
    board.know_host("other_key")
    before = board.known_hosts.read_text()
    assert f"ssh-keygen -R '[127.0.0.1]:{board.port}'" in failure(ssh_transport, request_for)
    assert board.known_hosts.read_text() == before


def test_a_host_that_does_not_exist(board, request_for):
    transport = SshTransport(parse_address("ssh://no-such-board.invalid"))
    assert 'the host "no-such-board.invalid" is not known here' in failure(transport, request_for)


def test_a_host_that_says_nothing(board, request_for, monkeypatch):
    """It takes the connection and is silent, as a board that has run out of memory."""
    import socket

    monkeypatch.setattr("edgeprune.device.ssh.client.LOGIN_SECS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        transport = SshTransport(parse_address(f"ssh://127.0.0.1:{server.getsockname()[1]}"))
        assert "can't be reached" in failure(transport, request_for)


def test_no_ssh_client_here(board, request_for, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    assert "ssh is not installed here" in failure(SshTransport(parse_address(board.spec())), request_for)


def test_an_alias_of_the_users_config_and_no_socket(board, request_for, monkeypatch):
    """Where no shared login is possible each command logs in by itself."""
    monkeypatch.setattr("edgeprune.device.ssh.client._socket_folder", lambda: None)
    text = board.spec().replace(f"{USER}@127.0.0.1:{board.port}", "board-alias")
    transport = SshTransport(parse_address(text), retry_waits_secs=())
    assert len(transport.run(request_for).rounds_ms[0]) == 2
    assert transport.describe() == "ssh://board-alias"
    transport.close()
    board.know_host(None)
    assert "never accepted unseen" in failure(SshTransport(parse_address(text), retry_waits_secs=()), request_for)
