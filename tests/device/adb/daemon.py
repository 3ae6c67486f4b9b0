"""A stand-in for the adb daemon of a phone: the real adb client and server talk to it over TCP.

Services run real commands of this host with a folder that stands for the phone's root: paths below /data/local/tmp and
/sys are moved there, and what only Android has (getprop, dumpsys, ...) are scripts in its bin folder. A file that is
pushed with an ELF header can't run here; the script `program` is put in its place.

Protocol: packages/modules/adb/protocol.txt, SYNC.TXT and shell_protocol.h of Android.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import stat
import struct
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

_HEADER = struct.Struct("<4s5I")
_VERSION, _MOST_DATA = 0x01000001, 262144
_STDOUT, _STDERR, _EXIT = 1, 2, 3
_BANNER = "device::ro.product.name=standin;ro.product.model=Standin;ro.product.device=standin;features=shell_v2,cmd\0"
_SYNC_CHUNK = 64 * 1024
MOVED = ("/data/local/tmp", "/sys/")

# How to stop a service in its middle: its name, such as "shell:CMD", "send:PATH" or "recv:PATH" -> "cut" (the cable is
# out), "mute" (it ends well, but the last words are lost), or None.
Fault = Callable[[str], str | None]


class Cut(Exception):
    """The connection is gone."""


class Phone:
    """One stand-in. fault: asked for each service. authorized: False waits for a user who never comes.

    silent: takes the connection and says nothing. away: takes none.

    program: what runs where an ELF file was pushed. environment: what commands see beyond PATH.
    """

    def __init__(self, root: Path, program: str) -> None:
        self.root = root
        self.program = program
        self.fault: Fault = lambda service: None
        self.authorized = True
        self.silent = False
        self.away = False
        self.services: list[str] = []
        self.connections: list[_Connection] = []
        (root / "data/local/tmp").mkdir(parents=True, exist_ok=True)
        (root / "sys").mkdir(exist_ok=True)
        (root / "bin").mkdir(exist_ok=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.serial = f"127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def temporary(self) -> Path:
        """What stands for /data/local/tmp."""
        return self.root / "data/local/tmp"

    def remains(self) -> list[str]:
        """What of ours is on the phone: files, and processes that still run there."""
        files = sorted(path.name for path in self.temporary.iterdir())
        mark = str(self.temporary).encode()
        running = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    if mark in (entry / "cmdline").read_bytes():
                        running.append(f"process {entry.name}")
        return files + running

    def unplug(self) -> None:
        """Drop all connections, as when the cable is pulled."""
        for connection in list(self.connections):
            connection.drop()

    def close(self) -> None:
        """End everything."""
        self.away = True
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.unplug()

    def _accept(self) -> None:
        while True:
            try:
                wire, _ = self.listener.accept()
            except OSError:
                return
            if self.away:
                wire.close()
                continue
            wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = _Connection(self, wire)
            self.connections.append(connection)
            threading.Thread(target=connection.serve, daemon=True).start()


class _Connection:
    """One connection of an adb server."""

    def __init__(self, phone: Phone, wire: socket.socket) -> None:
        self.phone = phone
        self.wire = wire
        self.lock = threading.Lock()
        self.streams: dict[int, _Stream] = {}

    def serve(self) -> None:
        try:
            while True:
                command, arg0, arg1, length, _, _ = _HEADER.unpack(self._read(_HEADER.size))
                data = self._read(length)
                if command == b"CNXN":
                    if self.phone.silent:
                        continue
                    if self.phone.authorized:
                        self.send(b"CNXN", _VERSION, _MOST_DATA, _BANNER.encode())
                    else:
                        self.send(b"AUTH", 1, 0, bytes(20))
                elif command == b"AUTH" and arg0 == 2:
                    # A signature of a key that this phone does not know: ask for the next one. The public key itself
                    # (3) waits for the user to allow it.
                    self.send(b"AUTH", 1, 0, bytes(20))
                elif command == b"OPEN":
                    stream = _Stream(self, arg0, len(self.streams) + 1)
                    self.streams[stream.local] = stream
                    service = data.rstrip(b"\0").decode()
                    threading.Thread(target=stream.serve, args=(service,), daemon=True).start()
                elif command in (b"OKAY", b"WRTE", b"CLSE") and arg1 in self.streams:
                    self.streams[arg1].receive(command, data)
        except (Cut, OSError):
            self.drop()

    def send(self, command: bytes, arg0: int, arg1: int, data: bytes = b"") -> None:
        (number,) = struct.unpack("<I", command)
        header = _HEADER.pack(command, arg0, arg1, len(data), sum(data) & 0xFFFFFFFF, number ^ 0xFFFFFFFF)
        with self.lock:
            try:
                self.wire.sendall(header + data)
            except OSError as error:
                raise Cut from error

    def drop(self) -> None:
        """End the connection and, as the real daemon does, the services on it."""
        if self in self.phone.connections:
            self.phone.connections.remove(self)
        with contextlib.suppress(OSError):
            self.wire.shutdown(socket.SHUT_RDWR)
        self.wire.close()
        for stream in list(self.streams.values()):
            stream.end()

    def _read(self, size: int) -> bytes:
        parts = b""
        while len(parts) < size:
            part = self.wire.recv(size - len(parts))
            if not part:
                raise Cut
            parts += part
        return parts


class _Stream:
    """One service on a connection."""

    def __init__(self, connection: _Connection, remote: int, local: int) -> None:
        self.connection, self.remote, self.local = connection, remote, local
        self.ready = threading.Semaphore(0)
        self.arrived = threading.Condition()
        self.data = b""
        self.closed = False
        self.child: subprocess.Popen[bytes] | None = None

    def receive(self, command: bytes, data: bytes) -> None:
        if command == b"OKAY":
            self.ready.release()
        elif command == b"WRTE":
            with self.arrived:
                self.data += data
                self.arrived.notify()
            self.connection.send(b"OKAY", self.local, self.remote)
        else:
            self.end()

    def end(self) -> None:
        with self.arrived:
            self.closed = True
            self.arrived.notify()
        self.ready.release()
        if self.child is not None and self.child.poll() is None:
            # shell_service.cpp: "Using SIGHUP is a decent general way to indicate that the process is going away."
            self.child.send_signal(signal.SIGHUP)

    def serve(self, service: str) -> None:
        try:
            self.connection.send(b"OKAY", self.local, self.remote)
            kind, _, argument = service.partition(":")
            if kind.startswith("shell"):
                self._shell(argument)
            elif kind == "sync":
                self._sync()
            self.connection.send(b"CLSE", self.local, self.remote)
        except (Cut, OSError):
            self.connection.drop()

    def write(self, data: bytes) -> None:
        self.connection.send(b"WRTE", self.local, self.remote, data)
        self.ready.acquire()
        if self.closed:
            raise Cut

    def read(self, size: int) -> bytes:
        with self.arrived:
            self.arrived.wait_for(lambda: self.closed or len(self.data) >= size)
            if len(self.data) < size:
                raise Cut
            taken, self.data = self.data[:size], self.data[size:]
        return taken

    def _shell(self, command: str) -> None:
        phone = self.connection.phone
        phone.services.append(f"shell:{command}")
        fault = phone.fault(f"shell:{command}")
        for path in MOVED:
            command = command.replace(path, f"{phone.root}{path}")
        self.child = subprocess.Popen(
            ["sh", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=phone.root,
            env={"PATH": f"{phone.root / 'bin'}:{os.defpath}", "HOME": str(phone.root)},
        )
        if fault == "cut":
            # Well into the run
            time.sleep(0.15)
            raise Cut
        pumps = [
            threading.Thread(target=self._pump, args=(stream, number, fault), daemon=True)
            for stream, number in ((self.child.stdout, _STDOUT), (self.child.stderr, _STDERR))
        ]
        for pump in pumps:
            pump.start()
        for pump in pumps:
            pump.join()
        code = self.child.wait()
        self.write(struct.pack("<BIB", _EXIT, 1, code & 0xFF if code >= 0 else 128 - code))

    def _pump(self, stream: object, number: int, fault: str | None) -> None:
        content = stream.read()  # type: ignore[attr-defined]
        if fault == "mute" and number == _STDOUT:
            content = content[: len(content) // 2]
        with contextlib.suppress(Cut):
            for start in range(0, len(content), 32768):
                part = content[start : start + 32768]
                self.write(struct.pack("<BI", number, len(part)) + part)

    def _sync(self) -> None:
        while True:
            command, length = struct.unpack("<4sI", self.read(8))
            if command == b"QUIT":
                return
            path = self.read(length).decode()
            if command == b"STAT":
                self._stat(self._moved(path))
            elif command == b"SEND":
                self._send(path)
            elif command == b"RECV":
                self._recv(path)
            else:
                self._fail(f"unknown command {command!r}")

    def _stat(self, path: Path) -> None:
        try:
            found = path.stat()
            self.write(struct.pack("<4s3I", b"STAT", found.st_mode, found.st_size, int(found.st_mtime)))
        except OSError:
            self.write(struct.pack("<4s3I", b"STAT", 0, 0, 0))

    def _send(self, text: str) -> None:
        name, _, mode = text.rpartition(",")
        phone = self.connection.phone
        phone.services.append(f"send:{name}")
        fault = phone.fault(f"send:{name}")
        content, path, problem = b"", self._moved(name), ""
        while True:
            command, length = struct.unpack("<4sI", self.read(8))
            if command == b"DONE":
                break
            content += self.read(length)
            if fault == "cut":
                path.write_bytes(content[: len(content) // 2])
                raise Cut
        if fault in ("full", "read-only"):
            problem = "No space left on device" if fault == "full" else "Read-only file system"
            return self._fail(f"couldn't create file: {problem}")
        if content.startswith(b"\x7fELF"):
            content = phone.program.encode()
        if fault == "short":
            content = content[:-1]
        try:
            path.write_bytes(content)
            path.chmod(stat.S_IMODE(int(mode)))
        except OSError as error:
            return self._fail(f"couldn't create file: {error.strerror}")
        return self.write(struct.pack("<4sI", b"OKAY", 0))

    def _recv(self, name: str) -> None:
        phone = self.connection.phone
        phone.services.append(f"recv:{name}")
        fault = phone.fault(f"recv:{name}")
        try:
            content = self._moved(name).read_bytes()
        except OSError as error:
            return self._fail(f"open failed: {error.strerror}")
        if fault == "cut":
            self.write(struct.pack("<4sI", b"DATA", len(content)) + content[: len(content) // 2])
            raise Cut
        for start in range(0, len(content), _SYNC_CHUNK):
            part = content[start : start + _SYNC_CHUNK]
            self.write(struct.pack("<4sI", b"DATA", len(part)) + part)
        return self.write(struct.pack("<4sI", b"DONE", 0))

    def _fail(self, message: str) -> None:
        self.write(struct.pack("<4sI", b"FAIL", len(message)) + message.encode())

    def _moved(self, path: str) -> Path:
        assert path.startswith("/data/local/tmp"), path
        return Path(f"{self.connection.phone.root}{path}")


def command_script(root: Path, name: str, body: str) -> None:
    """Put a command on the phone."""
    path = root / "bin" / name
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(0o755)


def write_cores(root: Path, capacities: list[int], governor: str = "performance") -> None:
    """The phone's cores, with these capacities; clocks are a thousand times as much, in kHz."""
    shutil.rmtree(root / "sys", ignore_errors=True)
    for number, capacity in enumerate(capacities):
        folder = root / f"sys/devices/system/cpu/cpu{number}"
        (folder / "cpufreq").mkdir(parents=True)
        (folder / "cpu_capacity").write_text(f"{capacity}\n")
        for name in ("cpuinfo_max_freq", "scaling_max_freq", "scaling_cur_freq"):
            (folder / "cpufreq" / name).write_text(f"{capacity * 1000}\n")
        (folder / "cpufreq/scaling_governor").write_text(f"{governor}\n")
