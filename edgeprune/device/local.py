"""This host as a device."""

from __future__ import annotations

import sys

from edgeprune.device.child import RUNNER, ChildTransport
from edgeprune.device.transport import OnProgress, RunRequest, RunResult
from edgeprune.errors import InputError

__all__ = ["RUNNER", "LocalTransport", "open_local"]


def open_local(spec: str) -> LocalTransport:
    """Open "local".

    Raises:
        InputError: there is more behind the name.
    """
    if spec != "local":
        raise InputError(f'unknown device "{spec}"; this host is called "local"')
    return LocalTransport()


class LocalTransport(ChildTransport):
    """Runs requests with this Python and the runtime installed beside edgeprune."""

    where = "this host"
    mend = "reinstall ai-edge-litert in this environment"

    def describe(self) -> str:
        """ "local"."""
        return "local"

    def python(self, arguments: list[str]) -> list[str]:
        """This Python."""
        return [sys.executable, *arguments]

    def run(self, request: RunRequest, on_progress: OnProgress | None = None) -> RunResult:
        """Run one request in a child process; see `Transport.run`."""
        if request.mode == "count":
            raise InputError("this host can't count instructions; give an emulated board, such as emulator:rpi4")
        return super().run(request, on_progress)
