"""An adb server of the test's own, and stand-in phones that it knows."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from edgeprune.device.adb.session import Patience
from edgeprune.device.adb.spec import AdbSpec
from edgeprune.device.adb.transport import AdbTransport, connect
from tests.device.adb.daemon import Phone, command_script, write_cores
from tests.device.adb.elf_files import elf
from tests.tflite.model_files import dense_network

PROPERTIES = {
    "ro.product.cpu.abi": "arm64-v8a",
    "ro.product.cpu.abilist": "arm64-v8a,armeabi-v7a",
    "ro.product.model": "Standin 4",
    "ro.build.version.release": "13",
    "ro.build.version.sdk": "33",
    "ro.build.fingerprint": "standin/4",
    "ro.serialno": "S1",
}
# Short, so that a device that stays away is given up soon.
PATIENCE = Patience(stall_secs=20.0, back_secs=5.0)
SOURCE = Path(__file__).with_name("benchmark_model.py")
# Ports that the adb server itself searches for emulators
EMULATOR_PORTS = range(5555, 5587)


def free_port() -> int:
    while True:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        if port not in EMULATOR_PORTS:
            return port


class Server:
    """An adb server that only this test talks to."""

    def __init__(self, port: int, home: Path) -> None:
        self.port = port
        self.home = home
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(
            ["adb", "-P", str(self.port), "nodaemon", "server"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": str(self.home)},
        )
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise AssertionError("the adb server does not start")

    def stop(self) -> None:
        """End the server, by its own process."""
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None

    def runs(self) -> bool:
        """Whether the server that was started here still runs."""
        return self.process is not None and self.process.poll() is None

    def client(self, *arguments: str) -> str:
        ended = subprocess.run(["adb", *arguments], capture_output=True, text=True, timeout=30)
        return ended.stdout + ended.stderr


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests."""
    server = Server(free_port(), tmp_path_factory.mktemp("home"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def server(shared_server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server that knows no device; the adb client of this process talks to no other."""
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(shared_server.port))
    monkeypatch.setenv("HOME", str(shared_server.home))
    for name in ("ANDROID_SERIAL", "ADB", "EDGEPRUNE_BENCHMARK_MODEL", "EDGEPRUNE_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    if not shared_server.runs():
        shared_server.start()
    yield shared_server
    shared_server.client("disconnect")
    if not shared_server.runs():
        # The test has stopped it, and a client of ours then started one, which is no child of this process.
        shared_server.client("kill-server")


@pytest.fixture
def new_phone(server: Server, tmp_path: Path) -> Iterator[Callable[..., Phone]]:
    """Makes phones that the server is connected to."""
    phones: list[Phone] = []

    def make(*, authorized: bool = True, **properties: str) -> Phone:
        root = tmp_path / f"phone{len(phones)}"
        root.mkdir()
        phone = Phone(root, f"#!{sys.executable} -S\n{SOURCE.read_text(encoding='utf-8')}")
        phone.authorized = authorized
        phones.append(phone)
        write_cores(root, [400, 400, 400, 400, 900, 900, 900, 1024])
        values = {**PROPERTIES, **{name.replace("_", "."): value for name, value in properties.items()}}
        cases = "\n".join(f"{name}) echo '{value}';;" for name, value in values.items())
        command_script(root, "getprop", f'case "$1" in\n{cases}\nesac')
        command_script(root, "dumpsys", 'cat "$HOME/dumpsys-$1" 2>/dev/null')
        command_script(root, "settings", "echo 0")
        command_script(root, "cmd", 'echo "$@" >>"$HOME/commands"')
        command_script(root, "taskset", 'echo "$1" >>"$HOME/masks"; shift; exec "$@"')
        behave(phone)
        assert "connected to" in server.client("connect", phone.serial) or not authorized
        return phone

    yield make
    for phone in phones:
        phone.close()
        shutil.rmtree(phone.root, ignore_errors=True)


@pytest.fixture
def phone(new_phone: Callable[..., Phone]) -> Phone:
    """The only phone."""
    return new_phone()


@pytest.fixture
def binary(tmp_path: Path) -> Path:
    """A benchmark_model for the phone, as far as its header tells."""
    path = tmp_path / "the tool; $(touch pwned)"
    path.write_bytes(elf())
    return path


@pytest.fixture
def opened(phone: Phone, binary: Path) -> Iterator[AdbTransport]:
    """The only phone, opened."""
    with closing(connect(AdbSpec(binary=binary), PATIENCE)) as transport:
        yield transport


@pytest.fixture
def models(tmp_path: Path) -> tuple[Path, Path]:
    """Two small models."""
    paths = tmp_path / "first.tflite", tmp_path / "second.tflite"
    for path in paths:
        path.write_bytes(dense_network().pack())
    return paths


def behave(phone: Phone, **behaviour: object) -> None:
    """Tell the phone's benchmark_model how to behave from now on."""
    (phone.root / "behaviour.json").write_text(json.dumps(behaviour))


def calls(phone: Phone) -> list[dict[str, str]]:
    """The flags of each process that benchmark_model ran in, without --help."""
    path = phone.root / "calls"
    lines = path.read_text().splitlines() if path.exists() else []
    return [dict(flag[2:].split("=", 1) for flag in json.loads(line)) for line in lines]
