"""The command lines that set a board up and run it; nothing is downloaded here."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edgeprune.boards.board import Board
from edgeprune.boards.command import run_command
from edgeprune.boards.counter import compiler_arguments, counter_recipe
from edgeprune.boards.host import Qemu, find_apt, find_compiler, find_qemu
from edgeprune.boards.root import DEFAULT_MIRROR, apt_configuration, find_mirror, root_recipe
from edgeprune.boards.wheels import parse_runtime, pip_arguments, platform_tags
from edgeprune.errors import DeviceError, InputError
from edgeprune.target import Runtime, load_target

pytestmark = pytest.mark.unit

QEMU = Qemu("/usr/bin/qemu-aarch64", "7.2.22")


def script(folder: Path, name: str, body: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def test_pip_asks_for_wheels_of_the_board(tmp_path: Path) -> None:
    arguments = pip_arguments(Runtime("tflite-runtime", "2.14.0"), tmp_path)
    assert arguments[:4] == [sys.executable, "-m", "pip", "download"]
    assert "--only-binary=:all:" in arguments
    assert arguments[arguments.index("--python-version") + 1] == "3.11"
    # tflite-runtime was built for numpy 1 and does not say so.
    assert arguments[-2:] == ["tflite-runtime==2.14.0", "numpy<2"]
    tags = {arguments[place + 1] for place, word in enumerate(arguments) if word == "--platform"}
    assert tags == set(platform_tags())
    assert {"manylinux2014_aarch64", "manylinux_2_17_aarch64", "manylinux_2_34_aarch64"} <= tags
    # Debian 12 has glibc 2.36.
    assert "manylinux_2_37_aarch64" not in tags


def test_runtimes_are_read_strictly() -> None:
    assert parse_runtime("ai-edge-litert==2.3.0") == Runtime("ai-edge-litert", "2.3.0")
    for text in ("ai-edge-litert", "ai-edge-litert==", "ai-edge-litert==latest", "ai-edge-litert==2.3.0; rm"):
        with pytest.raises(InputError, match="PACKAGE==VERSION"):
            parse_runtime(text)
    with pytest.raises(InputError, match='did you mean "ai-edge-litert"'):
        parse_runtime("ai-edge-lite==2.3.0")


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("sources.list", "deb http://mirror.example/debian bookworm main", "http://mirror.example/debian"),
        ("sources.list", "deb [arch=amd64] https://mirror.example/debian/ sid main", "https://mirror.example/debian"),
        ("sources.list", "# deb http://mirror.example/debian bookworm main", DEFAULT_MIRROR),
        ("sources.list", "deb http://security.example/debian-security bookworm main", DEFAULT_MIRROR),
        ("sources.list", "deb http://archive.ubuntu.com/ubuntu noble main", DEFAULT_MIRROR),
        (
            "sources.list.d/x.sources",
            "Types: deb\nURIs: http://m.example/debian\nSuites: sid",
            "http://m.example/debian",
        ),
        ("sources.list.d/x.save", "deb http://mirror.example/debian bookworm main", DEFAULT_MIRROR),
    ],
)
def test_packages_come_from_the_mirror_of_the_host(tmp_path: Path, name: str, text: str, expected: str) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / name).write_text(text + "\n")
    assert find_mirror(tmp_path) == expected


def test_apt_keeps_to_its_own_folder(tmp_path: Path) -> None:
    lines = apt_configuration(tmp_path).splitlines()
    assert 'APT::Architecture "arm64";' in lines
    assert 'Dir::Etc::sourceparts "-";' in lines
    assert f'Dir::State::status "{tmp_path}/status";' in lines


def test_missing_keys_are_named(tmp_path: Path) -> None:
    recipe = root_recipe(tmp_path, tmp_path)
    with pytest.raises(DeviceError, match="apt-get install debian-archive-keyring"):
        recipe.download(tmp_path)


def test_the_plugin_is_compiled_for_the_interface_of_qemu() -> None:
    old = compiler_arguments(QEMU, Path("a.c"), Path("a.so"))
    new = compiler_arguments(Qemu("qemu", "10.0.2"), Path("a.c"), Path("a.so"))
    assert "-DPLUGIN_API=1" in old
    assert "-DPLUGIN_API=2" in new
    assert old[-3:] == ["-o", "a.so", "a.c"]
    assert counter_recipe(QEMU).identity["qemu"] == "7.2.22"


def board(tmp_path: Path, name: str) -> Board:
    target = load_target(name)
    return Board(target, target.runtime, QEMU, tmp_path / "root", tmp_path / "site", tmp_path / "counter.so")


def test_the_python_of_a_board(tmp_path: Path) -> None:
    command = board(tmp_path, "rpi4").python(["script.py"])
    assert command[0] == "/usr/bin/qemu-aarch64"
    assert command[-3:] == [f"{tmp_path}/root/usr/bin/python3.11", "-S", "script.py"]
    assert command[command.index("-cpu") + 1] == "cortex-a72"
    assert command[command.index("-L") + 1] == f"{tmp_path}/root"
    assert f"PYTHONPATH={tmp_path}/site" in command
    assert "-plugin" not in command


def test_the_plugin_is_loaded_where_it_counts(tmp_path: Path) -> None:
    command = board(tmp_path, "rpi4").python(["script.py"], counting=True)
    assert command[command.index("-plugin") + 1] == f"{tmp_path}/counter.so"


def test_a_phone_runs_on_its_big_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {1, 2, 5})
    assert board(tmp_path, "pixel6").python([])[:3] == ["taskset", "-c", "1"]


def test_each_missing_program_is_named_with_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeviceError, match="^qemu-aarch64 not found.*apt-get install qemu-user$"):
        find_qemu()
    with pytest.raises(DeviceError, match="^cc not found.*apt-get install gcc$"):
        find_compiler()
    with pytest.raises(DeviceError, match="needs a Debian or Ubuntu host"):
        find_apt()
    script(tmp_path, "apt-get", "")
    with pytest.raises(DeviceError, match="^dpkg-deb not found.*apt-get install dpkg$"):
        find_apt()


@pytest.mark.parametrize(
    ("version", "options", "said"),
    [
        ("qemu-aarch64 version 6.2.0", "-plugin", "must be version 7 or newer, this host has 6.2.0"),
        ("something else", "-plugin", "must be version 7 or newer"),
        ("qemu-aarch64 version 10.0.2 (Debian)", "-cpu", "10.0.2 is built without plugins"),
    ],
)
def test_a_qemu_that_can_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, options: str, said: str
) -> None:
    script(tmp_path, "qemu-aarch64", f'case "$1" in --version) echo "{version}";; *) echo "{options}";; esac')
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(DeviceError, match=said):
        find_qemu()


def test_another_system_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(DeviceError, match="need a Linux host with qemu-user, this is darwin"):
        find_qemu()


def test_failures_of_programs_are_one_line(tmp_path: Path) -> None:
    script(tmp_path, "apt-get", "echo Reading >&2; echo 'E: Unable to locate package x' >&2; echo later >&2; exit 100")
    with pytest.raises(DeviceError) as caught:
        run_command([str(tmp_path / "apt-get")], "downloading", timeout_secs=10)
    assert str(caught.value) == f'downloading failed: {tmp_path}/apt-get said "E: Unable to locate package x"'
    with pytest.raises(DeviceError, match="took longer than 0 s"):
        run_command(["sleep", "30"], "waiting", timeout_secs=0.2)
    with pytest.raises(DeviceError, match="can't be started"):
        run_command([str(tmp_path / "missing")], "starting", timeout_secs=1)
