"""The user's own OpenSSH client, with its config, keys, agent and jump hosts; it is never asked to be less careful."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from edgeprune.device.ssh.address import SshAddress
from edgeprune.device.ssh.faults import login_error
from edgeprune.errors import DeviceError

CONNECT_SECS = 15
# The whole login with jump hosts and slow boards; ConnectTimeout covers only a part of it.
LOGIN_SECS = 60.0
# A silent connection is given up after ALIVE_SECS * ALIVE_COUNT.
ALIVE_SECS, ALIVE_COUNT = 10, 3
# A socket's path has room for about 100 bytes, and ssh adds 17 while it makes one.
_MAX_SOCKET_PATH = 80

_OPTIONS = (
    "BatchMode=yes",
    # A run without questions can't ask, so "yes" is what "ask" comes to; a config that accepts any key is overruled.
    "StrictHostKeyChecking=yes",
    f"ConnectTimeout={CONNECT_SECS}",
    f"ServerAliveInterval={ALIVE_SECS}",
    f"ServerAliveCountMax={ALIVE_COUNT}",
    "LogLevel=ERROR",
    # What a config may set for logins by hand
    "ClearAllForwardings=yes",
    "ForwardAgent=no",
    "ForwardX11=no",
    "RequestTTY=no",
    "RemoteCommand=none",
    "PermitLocalCommand=no",
)


class SshClient:
    """One login, shared by all commands where the system allows that; else each command logs in by itself."""

    def __init__(self, address: SshAddress) -> None:
        self.address = address
        self._program = shutil.which("ssh")
        self._folder: Path | None = None
        self._master: subprocess.Popen[bytes] | None = None
        self._command: subprocess.Popen[bytes] | None = None

    def connect(self) -> None:
        """Log in, unless that login is still there.

        Raises:
            DeviceError: there is no ssh here, the host can't be reached or does not let us in.
        """
        if self._master is not None and self._master.poll() is None:
            return
        self.close()
        if self._program is None:
            raise DeviceError(
                "ssh is not installed here; install the OpenSSH client (sudo apt-get install openssh-client)"
            )
        folder = _socket_folder()
        if folder is None:
            return
        self._folder = folder
        with (folder / "log").open("wb") as log:
            self._master = subprocess.Popen(
                [*self._arguments("yes"), "-N", "--", self.address.host],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                env=_environment(),
                start_new_session=True,
            )
        deadline = time.monotonic() + LOGIN_SECS
        while not self._socket.exists():
            code = self._master.poll()
            if code is not None or time.monotonic() > deadline:
                words = self.words()
                self.close()
                if "unix_listener" in words or "ControlPath" in words:
                    return  # no socket here: each command logs in
                raise login_error(self.address, words if code is not None else "timed out")
            time.sleep(0.02)

    def start(self, command: str) -> subprocess.Popen[bytes]:
        """Start a command of the board's shell, with pipes. It is out of reach of the terminal's Ctrl-C, so that its
        end is ours to decide."""
        assert self._program is not None
        self._command = subprocess.Popen(
            [*self._arguments("no"), "--", self.address.host, command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(),
            start_new_session=True,
        )
        return self._command

    def words(self) -> str:
        """What the shared login has said on its standard error."""
        if self._folder is None:
            return ""
        with contextlib.suppress(OSError):
            return (self._folder / "log").read_text(encoding="utf-8", errors="replace")
        return ""

    def close(self) -> None:
        """End the login, with a command that still runs, and remove its socket."""
        if self._command is not None and self._command.poll() is None:
            self._command.kill()
        if self._master is not None:
            self._master.terminate()
            try:
                self._master.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self._master.kill()
                self._master.wait()
            self._master = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    @property
    def _socket(self) -> Path:
        assert self._folder is not None
        return self._folder / "s"

    def _arguments(self, master: str) -> list[str]:
        assert self._program is not None
        shared = self._folder is not None
        return [
            *(self._program, "-T", "-o", f"ControlMaster={master if shared else 'no'}"),
            *("-o", f"ControlPath={self._socket if shared else 'none'}", "-o", "ControlPersist=no"),
            *(word for option in _OPTIONS for word in ("-o", option)),
            *(() if self.address.user is None else ("-l", self.address.user)),
            *(() if self.address.port is None else ("-p", str(self.address.port))),
        ]


def _socket_folder() -> Path | None:
    """A private folder with a short path; None where there is none."""
    for base in (tempfile.gettempdir(), "/tmp"):
        # "%" begins a token in ssh's options, "$" a variable, and a space ends a word.
        if len(os.fsencode(base)) < _MAX_SOCKET_PATH - 20 and base.isprintable() and not set(base) & set("%$\"'\\ "):
            with contextlib.suppress(OSError):
                return Path(tempfile.mkdtemp(prefix="edgeprune-ssh-", dir=base))
    return None


def _environment() -> dict[str, str]:
    """No window asks for a password either."""
    return {**os.environ, "LC_ALL": "C", "SSH_ASKPASS_REQUIRE": "never"}
