"""The contract of all transports, over a real sshd."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.device.contract import TransportContract
from tests.device.ssh.board import Board


@pytest.mark.device
class TestSsh(TransportContract):
    @pytest.fixture
    def remains(self, board: Board) -> Callable[[], list[str]]:
        return board.remains

    @pytest.fixture
    def transport(self, ssh_transport):
        return ssh_transport
