"""What goes wrong between here and a phone: one line, exit code 4, no number, and nothing left on the phone."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest

from edgeprune.device.adb.client import Adb, DeviceLost
from edgeprune.device.adb.find import find_device
from edgeprune.device.adb.session import Patience
from edgeprune.device.adb.spec import AdbSpec
from edgeprune.device.adb.transport import connect, open_adb
from edgeprune.device.transport import RunRequest
from edgeprune.errors import DeviceError, InputError
from tests.device.adb.conftest import PATIENCE, behave, calls
from tests.device.adb.daemon import command_script
from tests.device.adb.elf_files import elf

pytestmark = pytest.mark.device


@pytest.fixture
def request_of(models):
    return RunRequest("bench", models, rounds=3, round_secs=0.02, warmup_secs=0.01)


@pytest.fixture
def outputs_request(models, tmp_path):
    np.savez(tmp_path / "in.npz", input_0=np.ones((1, 8), np.float32))
    return RunRequest("outputs", models[:1], inputs=tmp_path / "in.npz", outputs=tmp_path / "out.npz")


def fault_of(call) -> str:
    """The message of the DeviceError that `call` ends with."""
    with pytest.raises(DeviceError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    assert message.isprintable()
    assert caught.value.exit_code == 4
    return message


def once(phone, part: str, fault: str, at: int = 0) -> None:
    """Let the service whose name holds `part` fail, the first one after `at` others."""
    seen = []

    def decide(service: str) -> str | None:
        if part in service:
            seen.append(service)
            return fault if len(seen) == at + 1 else None
        return None

    phone.fault = decide


def always(phone, part: str, fault: str) -> None:
    phone.fault = lambda service: fault if part in service else None


MEASURING = "--graph="


def assert_nothing_remains(phone) -> None:
    """Also no process: one that was just killed may take a moment."""
    deadline = time.monotonic() + 5
    while phone.remains() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert phone.remains() == []


def test_no_device(server):
    assert "no Android device found" in fault_of(lambda: connect(AdbSpec()))


def test_two_devices_are_named(new_phone, binary):
    first, second = new_phone(), new_phone()
    message = fault_of(lambda: connect(AdbSpec(binary=binary)))
    assert f"adb:{first.serial}" in message
    assert f"adb:{second.serial}" in message
    assert connect(AdbSpec(second.serial, binary)).describe() == f"adb:{second.serial} (Standin 4, Android 13)"


def test_a_serial_that_is_not_there(new_phone):
    phone = new_phone()
    assert f'"R58" not found; allowed: {phone.serial}' in fault_of(lambda: connect(AdbSpec("R58")))


def test_a_network_device_is_connected_to(server, new_phone):
    phone = new_phone()
    server.client("disconnect", phone.serial)
    assert connect(AdbSpec(phone.serial)).describe().startswith(f"adb:{phone.serial} ")


def test_a_network_device_that_does_not_answer(server):
    # Port 9 of this host: nothing listens there.
    assert '"127.0.0.1:9" not found' in fault_of(lambda: connect(AdbSpec("127.0.0.1:9")))


def test_unauthorized(new_phone):
    new_phone(authorized=False)
    message = fault_of(lambda: connect(AdbSpec()))
    assert "unauthorized" in message
    assert "Allow USB debugging" in message


def test_offline(phone):
    """A phone that the server knows, but that gives no answer."""
    phone.silent = True
    phone.unplug()
    assert f"device {phone.serial} is offline" in fault_of(lambda: find_device(None, settle_secs=0.3))


def test_offline_for_a_moment(phone):
    phone.silent = True
    phone.unplug()
    threading.Timer(0.5, back, [phone]).start()
    assert find_device(None, settle_secs=10).serial == phone.serial


def back(phone) -> None:
    phone.silent = False
    phone.unplug()


def test_adb_is_missing(monkeypatch):
    monkeypatch.setenv("ADB", "/nowhere/adb; touch pwned")
    assert "adb not found" in fault_of(lambda: connect(AdbSpec()))


@pytest.mark.parametrize("serial", ["x; touch pwned", "$(touch pwned)", "a\nb", "-s", "`x`' \"", ""])
def test_hostile_serials_reach_no_shell(server, serial, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((DeviceError, InputError)) as caught:
        open_adb(f"adb:{quote(serial)}")
    assert str(caught.value).isprintable()
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("part", ["send:", MEASURING])
def test_a_cable_that_comes_back_costs_no_finished_run(opened, phone, request_of, part):
    """In push: before anything was measured. In run: after three of six processes, which are kept."""
    once(phone, part, "cut", at=1 if part == "send:" else 3)
    result = opened.run(request_of)
    assert [len(rounds) for rounds in result.rounds_ms] == [3, 3]
    graphs = [flags["graph"].rpartition("/")[2] for flags in calls(phone)]
    done = graphs if part == "send:" else graphs[:3] + graphs[-3:]
    assert done == ["model_0.tflite", "model_1.tflite"] * 3
    assert len(graphs) <= 7
    assert phone.remains() == []


def test_a_cable_out_in_pull(opened, phone, outputs_request):
    once(phone, "recv:", "cut")
    opened.run(outputs_request)
    with np.load(outputs_request.outputs, allow_pickle=False) as stored:
        np.testing.assert_array_equal(stored["output_0"], np.full((1, 4), 8, np.float32))
    assert phone.remains() == []


@pytest.mark.parametrize("part", ["send:", MEASURING, "recv:"])
def test_a_cable_that_breaks_again_and_again(opened, phone, request_of, outputs_request, part):
    always(phone, part, "cut")
    request = outputs_request if part == "recv:" else request_of
    assert f"device {phone.serial} was lost 3 times" in fault_of(lambda: opened.run(request))
    assert not outputs_request.outputs.exists()
    assert phone.remains() == []


def test_a_phone_that_stays_away(phone, binary, request_of, capfd):
    def unplug(service: str) -> str | None:
        phone.away = MEASURING in service
        return "cut" if phone.away else None

    phone.fault = unplug
    transport = connect(AdbSpec(binary=binary), Patience(stall_secs=20, back_secs=1.0))
    message = fault_of(lambda: transport.run(request_of))
    assert "did not come back within 1 s" in message
    # Nothing can be removed from a phone that is not there; the user is told, and the next run does it.
    assert "may still be there (the next run removes it)" in capfd.readouterr().err
    phone.away, phone.fault = False, lambda service: None
    transport = connect(AdbSpec(phone.serial, binary), PATIENCE)
    (left,) = [name for name in phone.remains() if name.startswith("edgeprune-")]
    # This process still lives, so the folder counts as in use until it says otherwise.
    (phone.temporary / left / "owner").write_text("")
    os.utime(phone.temporary / left, (0, 0))
    transport.run(request_of)
    assert phone.remains() == []


def test_another_phone_in_its_place_is_not_measured(opened, phone, request_of):
    def swap(service: str) -> str | None:
        if MEASURING not in service:
            return None
        command_script(phone.root, "getprop", "case $1 in ro.serialno) echo S2;; *abi*) echo arm64-v8a;; esac")
        return "cut"

    phone.fault = swap
    assert "another phone answers" in fault_of(lambda: opened.run(request_of))


def test_the_server_restarts(opened, phone, server, request_of):
    """A new server knows no network devices: they are connected to again."""
    restarts = []

    def restart(service: str) -> str | None:
        if MEASURING in service and not restarts:
            restarts.append(service)
            server.stop()
            server.start()
        return None

    phone.fault = restart
    result = opened.run(request_of)
    assert restarts
    assert [len(rounds) for rounds in result.rounds_ms] == [3, 3]
    assert phone.remains() == []


@pytest.mark.parametrize(
    ("fault", "words"), [("full", "No space left on device"), ("read-only", "Read-only file system")]
)
def test_a_folder_that_takes_nothing(opened, phone, request_of, fault, words):
    always(phone, "send:", fault)
    message = fault_of(lambda: opened.run(request_of))
    assert words in message
    assert "/data/local/tmp" in message
    assert calls(phone) == []
    assert phone.remains() == []


def test_a_folder_that_can_not_be_made(opened, phone, request_of):
    command_script(phone.root, "mkdir", "echo \"mkdir: '$4': Read-only file system\" >&2; exit 1")
    assert "Read-only file system" in fault_of(lambda: opened.run(request_of))
    assert phone.remains() == []


def test_a_model_that_arrives_short_is_not_measured(opened, phone, request_of):
    always(phone, "model_1", "short")
    assert "a file did not arrive whole" in fault_of(lambda: opened.run(request_of))
    assert calls(phone) == []
    assert phone.remains() == []


@pytest.mark.parametrize("content", [elf(machine=62), elf(machine=40, size=2), b"\x7fELF" + bytes(60)])
def test_wrong_abi_is_seen_before_anything_is_pushed(phone, tmp_path, request_of, content):
    (tmp_path / "tool").write_bytes(content)
    transport = connect(AdbSpec(binary=tmp_path / "tool"), PATIENCE)
    assert "wrong ABI" in fault_of(lambda: transport.run(request_of))
    assert not [service for service in phone.services if service.startswith("send:")]
    assert phone.remains() == []


def test_a_program_that_can_not_be_started(opened, phone, request_of):
    phone.program = "#!/nowhere/interpreter\n"
    message = fault_of(lambda: opened.run(request_of))
    assert "can't be started" in message
    assert phone.remains() == []


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("SIGKILL", "killed on .* second.tflite: most likely out of memory"),
        ("SIGSEGV", "crashed on .* with SIGSEGV while it ran second.tflite"),
        ("exit", 'failed on second.tflite with exit code 3 .*"ERROR: the vendor\'s library is missing"'),
        ("truncated", "no time for second.tflite on .*timing summary"),
        ("interleaved", "no time for second.tflite on .*1 complete count= lines instead of 2"),
        ("negative", "no time for second.tflite on .*min is -3600000000"),
        ("hours", "no time for second.tflite on .*of invokes in"),
        ("flags", "does not know --num_threads=1"),
    ],
)
def test_the_program_fails(opened, phone, request_of, fault, words):
    behave(phone, fault=fault, at=1)
    message = fault_of(lambda: opened.run(request_of))
    assert re.search(words, message), message
    assert phone.remains() == []


def test_a_hang_is_ended_here_and_there(phone, binary, request_of):
    behave(phone, fault="hang", at=1)
    transport = connect(AdbSpec(binary=binary), Patience(stall_secs=1.0, back_secs=5.0))
    began = time.monotonic()
    assert "second.tflite hangs: benchmark_model did not end within 1 s" in fault_of(lambda: transport.run(request_of))
    assert time.monotonic() - began < 15
    assert_nothing_remains(phone)


def test_a_hung_script_ends_with_its_children(phone, tmp_path, request_of):
    """A script does not put the program in its own place: the program is its child."""
    names = "graph num_threads num_runs min_secs max_secs warmup_runs warmup_min_secs use_gpu use_xnnpack"
    script, child = tmp_path / "benchmark_model.sh", tmp_path / "child"
    flags = "".join(f"\\t--{name}=x\\n" for name in names.split())
    script.write_text(
        "#!/bin/sh\n"
        f"if [ \"$1\" = --help ]; then printf 'Flags:\\n{flags}' >&2; exit 1; fi\n"
        f"sleep 600 &\necho $! >{child}\nwait\n"
    )
    transport = connect(AdbSpec(binary=script), Patience(stall_secs=1.0, back_secs=5.0))
    assert "hangs" in fault_of(lambda: transport.run(request_of))
    deadline = time.monotonic() + 5
    while is_alive(int(child.read_text())):
        assert time.monotonic() < deadline, "the script's child is still there"
        time.sleep(0.05)
    assert phone.remains() == []


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_missing_sentinel_is_a_lost_device(opened, phone, request_of):
    """The client exits with 0 here, as it does when the cable drops."""
    always(phone, MEASURING, "mute")
    assert "was lost 3 times, at last: the answer broke off" in fault_of(lambda: opened.run(request_of))
    assert phone.remains() == []


def test_half_an_answer_is_not_one(phone):
    adb = Adb("adb", phone.serial)
    assert adb.ask("printf 'a\\nb\\n'", "testing") == "a\nb\n"
    assert adb.probe("echo x; exit 7", "testing").code == 7
    always(phone, "echo", "mute")
    with pytest.raises(DeviceLost):
        adb.ask("echo x", "testing")


@pytest.mark.parametrize("seconds", [3600, -3600])
def test_a_clock_that_jumps(opened, phone, request_of, seconds):
    """Each look at the clock is an hour after or before the one before."""
    body = (
        'n=$(cat "$HOME/looks" 2>/dev/null || echo 100); n=$((n+1)); echo $n >"$HOME/looks"; '
        f"now=$(/bin/date +%s.%N); echo $((${{now%.*}} + {seconds} * n)).${{now#*.}}"
    )
    command_script(phone.root, "date", body)
    message = fault_of(lambda: opened.run(request_of))
    jump = re.search(r"its clock jumped by ([-+]\d+)", message)
    assert jump is not None, message
    assert abs(int(jump[1]) - seconds) < 60
    assert phone.remains() == []


def test_a_run_that_is_killed_is_cleaned_up_by_the_next(phone, binary, models, request_of):
    """SIGKILL leaves no chance to clean up; the folder's note tells that nobody is there any more."""
    behave(phone, fault="hang", at=0)
    script = (
        "import sys; from pathlib import Path\n"
        "from edgeprune.device.adb.spec import AdbSpec\n"
        "from edgeprune.device.adb.transport import connect\n"
        "from edgeprune.device.transport import RunRequest\n"
        "connect(AdbSpec(sys.argv[1], Path(sys.argv[2]))).run(RunRequest('bench', (Path(sys.argv[3]),)))\n"
    )
    child = subprocess.Popen([sys.executable, "-c", script, phone.serial, str(binary), str(models[0])])
    deadline = time.monotonic() + 20
    while not calls(phone) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert [name for name in phone.remains() if name.startswith("edgeprune-")]
    behave(phone)
    connect(AdbSpec(phone.serial, binary), PATIENCE).run(request_of)
    assert_nothing_remains(phone)


def test_ctrl_c_in_a_run_leaves_nothing(phone, binary, models):
    behave(phone, fault="hang", at=1)
    command = [
        sys.executable,
        "-m",
        "edgeprune",
        "bench",
        str(models[0]),
        "--device",
        f"adb:?binary={quote(str(binary))}",
    ]
    child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 20
    while len(calls(phone)) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=30)
    assert child.returncode == 130
    assert "Traceback" not in errors
    assert_nothing_remains(phone)


def test_closing_from_another_thread_ends_a_run(opened, phone, request_of):
    """As when Ctrl-C ends the measuring of several devices."""
    behave(phone, fault="hang", at=1)

    def close_in_the_run(service: str) -> None:
        if MEASURING in service and calls(phone):
            threading.Timer(0.3, opened.close).start()

    phone.fault = close_in_the_run
    began = time.monotonic()
    assert "closed while it worked" in fault_of(lambda: opened.run(request_of))
    assert time.monotonic() - began < 10
    assert_nothing_remains(phone)
