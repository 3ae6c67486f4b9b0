"""A real sshd on the loopback, with keys, config and home of its own: this host plays the board."""

from __future__ import annotations

import contextlib
import os
import pwd
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import quote

from edgeprune.device.ssh.agent import PREFIX

USER = pwd.getpwuid(os.getuid()).pw_name
PRIVILEGE_FOLDER = Path("/run/sshd")
START_SECS = 10.0


class Board:
    """One sshd and the client's side: keys, known hosts, and an `ssh` in `bin` that reads a config of the test's own.

    home: of the user on the board. fault: a shell script that runs in place of the command while it is there; it has
    the command in $SSH_ORIGINAL_COMMAND.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home, self.bin, self.tmp = folder / "home", folder / "bin", folder / "tmp"
        for made in (self.home, self.bin, self.tmp):
            made.mkdir()
        for name in ("host_key", "user_key", "other_key"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True, timeout=30
            )
        self.fault = folder / "fault.sh"
        self.known_hosts = folder / "known_hosts"
        self.port = free_port()
        self.daemon: subprocess.Popen[bytes] | None = None
        shutil.copy(folder / "user_key.pub", folder / "authorized_keys")
        self.use_key("user_key")
        self.know_host("host_key")
        program = self.bin / "ssh"
        # OpenSSH looks for the user's config where the password file says, not in $HOME.
        program.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {shlex.quote(str(folder / "config"))} "$@"\n')
        program.chmod(0o755)

    def use_key(self, name: str) -> None:
        """The key that the client shows."""
        (self.folder / "config").write_text(
            f"Host board-alias\n  HostName 127.0.0.1\n  Port {self.port}\n  User {USER}\n"
            f"Host *\n  IdentityFile {self.folder / name}\n  IdentitiesOnly yes\n  IdentityAgent none\n"
            # As careless as a config can be: the product must not go along.
            f"  UserKnownHostsFile {self.known_hosts}\n  GlobalKnownHostsFile /dev/null\n  StrictHostKeyChecking no\n"
        )

    def know_host(self, name: str | None) -> None:
        """The key that the client expects of the board; None: it has never been there."""
        if name is None:
            self.known_hosts.write_text("")
            return
        kind, key = (self.folder / f"{name}.pub").read_text().split()[:2]
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {kind} {key}\n")

    def start(self, *extra: str) -> None:
        """Start sshd; `extra` lines of its config come first, and win."""
        config = self.folder / "sshd_config"
        wrapper = self.folder / "command.sh"
        wrapper.write_text(
            "#!/bin/sh\n"
            f"cd {shlex.quote(str(self.home))}\n"
            f"export HOME={shlex.quote(str(self.home))} TMPDIR={shlex.quote(str(self.tmp))}\n"
            f"[ ! -e {shlex.quote(str(self.fault))} ] || . {shlex.quote(str(self.fault))}\n"
            'exec sh -c "$SSH_ORIGINAL_COMMAND"\n'
        )
        wrapper.chmod(0o755)
        config.write_text(
            "\n".join(
                [
                    *extra,
                    f"Port {self.port}",
                    "ListenAddress 127.0.0.1",
                    f"HostKey {self.folder / 'host_key'}",
                    f"AuthorizedKeysFile {self.folder / 'authorized_keys'}",
                    f"ForceCommand {wrapper}",
                    f"AllowUsers {USER}",
                    "PidFile none",
                    "StrictModes no",
                    "UsePAM no",
                    "PasswordAuthentication no",
                    "KbdInteractiveAuthentication no",
                    "PermitRootLogin yes",
                ]
            )
            + "\n"
        )
        # Debian's service makes this folder; sshd insists on it when it is started by root.
        if os.getuid() == 0:
            PRIVILEGE_FOLDER.mkdir(mode=0o755, exist_ok=True)
        program = shutil.which("sshd", path=os.environ["PATH"] + ":/usr/sbin:/sbin")
        assert program is not None
        with (self.folder / "sshd.log").open("ab") as log:
            self.daemon = subprocess.Popen(
                [program, "-D", "-e", "-f", str(config)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + START_SECS
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            assert self.daemon.poll() is None, (self.folder / "sshd.log").read_text()
            assert time.monotonic() < deadline, "sshd does not listen"
            time.sleep(0.02)

    def stop(self) -> None:
        """End sshd and the sessions it still has."""
        if self.daemon is not None:
            self.cut()
            self.daemon.terminate()
            self.daemon.wait(timeout=10)
            self.daemon = None

    def cut(self) -> int:
        """Kill the daemon's processes that hold connections, as a pulled cable would; returns how many there were."""
        assert self.daemon is not None
        found = [pid for pid in descendants(self.daemon.pid) if name_of(pid).startswith("sshd")]
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return len(found)

    def spec(self, **options: str) -> str:
        """The text after --device. python: this one, unless told otherwise."""
        query = {"python": sys.executable, **options}
        text = "&".join(f"{key}={quote(value, safe='/')}" for key, value in query.items() if value)
        return f"ssh://{USER}@127.0.0.1:{self.port}" + (f"?{text}" if text else "")

    def wait_for_run(self, wait_secs: float = 20.0) -> bool:
        """Whether a run has its files on the board by then."""
        deadline = time.monotonic() + wait_secs
        while time.monotonic() < deadline:
            if list(self.home.glob(f".cache/edgeprune/{PREFIX}*/request.json")):
                return True
            time.sleep(0.02)
        return False

    def remains(self, wait_secs: float = 5.0) -> list[str]:
        """Folders of runs on the board, after the agent had time to clean up."""
        deadline = time.monotonic() + wait_secs
        while True:
            found = [*self.home.glob(f".cache/edgeprune/{PREFIX}*"), *self.tmp.glob("*")]
            if not found or time.monotonic() > deadline:
                return sorted(path.name for path in found)
            time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def descendants(pid: int) -> list[int]:
    """All processes below one."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found, todo = [], [pid]
    while todo:
        below = children.get(todo.pop(), [])
        found.extend(below)
        todo.extend(below)
    return found


def name_of(pid: int) -> str:
    with contextlib.suppress(OSError):
        return (Path("/proc") / str(pid) / "comm").read_text().strip()
    return ""
