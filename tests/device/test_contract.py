"""Transports against the one contract. The emulator's class is in test_emulator.py, where a board is set up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from edgeprune.device.devices import open_device
from edgeprune.device.transport import Transport
from tests.device.contract import TransportContract


@pytest.mark.unit
class TestLocal(TransportContract):
    @pytest.fixture
    def transport(self, temporary: Path) -> Iterator[Transport]:
        with closing(open_device("local")) as transport:
            yield transport

    @pytest.fixture
    def remains(self, temporary: Path) -> Callable[[], list[str]]:
        return lambda: sorted(path.name for path in temporary.iterdir())
