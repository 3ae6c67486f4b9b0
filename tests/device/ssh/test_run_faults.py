"""What may happen during a run: a clear error or the whole result, never a wrong number, and a clean board."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from edgeprune.device.ssh.address import parse_address
from edgeprune.device.ssh.agent import MARKER, PREFIX
from edgeprune.device.ssh.transport import SshTransport
from edgeprune.errors import DeviceError

pytestmark = pytest.mark.device

START = """
import json, os, signal, sys, time
request = json.load(open(sys.argv[1]))
open("{pid}", "w").write(str(os.getpid()))
print("@edgeprune load 0", file=sys.stderr, flush=True)
"""


def failure(transport, request, on_progress=None):
    with pytest.raises(DeviceError) as caught:
        transport.run(request, on_progress)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def bad(board, tmp_path):
    """A transport whose runner does what the given code says; its pid is in `tmp_path / "pid"`."""
    opened = []

    def make(body: str, **options) -> SshTransport:
        path = tmp_path / "bad_runner.py"
        path.write_text(START.format(pid=tmp_path / "pid") + body)
        options = {"retry_waits_secs": (0.1, 0.1), **options}
        opened.append(SshTransport(parse_address(board.spec()), runner=path, **options))
        return opened[-1]

    yield make
    for transport in opened:
        transport.close()


def assert_gone(pid_file: Path) -> None:
    """The runner has ended, or does within a moment."""
    pid, deadline = int(pid_file.read_text()), time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return
        if state == "Z":
            return
        time.sleep(0.02)
    raise AssertionError(f"process {pid} is still there")


def test_a_connection_that_is_cut_goes_on_where_it_was(board, ssh_transport, request_for):
    steps: list[str] = []

    def cut_once(step: str) -> None:
        steps.append(step)
        if step == "round 0 2" and steps.count("load 0") == 1:
            assert board.cut() > 0

    request = replace(request_for, rounds=4, round_secs=0.2)
    result = ssh_transport.run(request, cut_once)
    assert [len(rounds) for rounds in result.rounds_ms] == [4]
    assert all(samples and min(samples) > 0 for samples in result.rounds_ms[0])
    assert steps.count("load 0") == 2
    assert (steps.count("round 0 0"), steps.count("round 0 3")) == (1, 1)
    assert result.notes == ("the connection was cut and made again 1 time(s); finished rounds were kept",)
    assert board.remains() == []


def test_a_connection_that_is_always_cut_gives_no_number(board, ssh_transport, request_for):
    line = failure(ssh_transport, request_for, lambda step: board.cut() if step == "warmup 0" else None)
    assert "was cut 3 times" in line
    assert "0 of 2 rounds were done" in line
    assert board.remains() == []


def test_a_board_that_stays_away(board, ssh_transport, request_for):
    line = failure(ssh_transport, request_for, lambda step: board.stop() if step == "warmup 0" else None)
    assert "was cut 3 times, last with: " in line
    assert "refuses the connection" in line
    assert board.remains() == []


def test_an_agent_that_is_killed_takes_the_runner_along_and_its_folder_is_found(board, ssh_transport, request_for):
    killed: list[int] = []

    def kill_once(step: str) -> None:
        if step == "warmup 0" and not killed:
            (marker,) = board.home.glob(f".cache/edgeprune/{PREFIX}*/{MARKER}")
            killed.append(json.loads(marker.read_text())["pid"])
            os.kill(killed[0], signal.SIGKILL)

    result = ssh_transport.run(replace(request_for, warmup_secs=0.3), kill_once)
    assert killed
    assert "cut and made again 1 time(s)" in result.notes[0]
    assert board.remains() == []


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGKILL"])
def test_a_crash_is_not_tried_again(board, bad, request_for, tmp_path, name):
    body = f'open("{tmp_path}/starts", "a").write("x")\nos.kill(os.getpid(), signal.{name})\n'
    line = failure(bad(body), request_for)
    assert f"crashed on small.tflite with {name} during loading" in line
    assert ("memory" in line) == (name == "SIGKILL")
    assert (tmp_path / "starts").read_text() == "x"
    assert board.remains() == []


def test_an_exit_without_a_result_quotes_the_last_words(board, bad, request_for):
    line = failure(bad('sys.exit("RuntimeError: no more")\n'), request_for)
    assert 'exit code 1 during loading; its last words: "RuntimeError: no more"' in line
    assert "--install" not in line
    assert board.remains() == []


def test_a_disk_that_fills_while_the_result_is_written(board, bad, request_for):
    line = failure(bad('raise OSError(28, "No space left on device")\n'), request_for)
    assert "there is no room on" in line
    assert "free some space" in line
    assert "--install" not in line
    assert board.remains() == []


def test_a_hang_ends_after_the_patience(board, bad, request_for, tmp_path):
    line = failure(bad("time.sleep(600)\n", stall_secs=2.5), request_for)
    assert "small.tflite hangs: no progress for 3 s during loading" in line
    assert_gone(tmp_path / "pid")
    assert board.remains() == []


def test_a_result_with_too_few_rounds_is_refused(board, bad, request_for):
    body = (
        'one = {"rounds_ms": [[1.0]]}\n'
        'document = {"ok": True, "runtime": "r", "runtime_version": "1", "machine": {}, "models": [one]}\n'
        'json.dump(document, open(request["result"], "w"))\n'
    )
    assert "another number of rounds" in failure(bad(body), request_for)


@pytest.mark.parametrize(
    ("samples", "kept_every", "streams"),
    [([60_000.0] * 2, 1, True), ([60_000.0] * 2, 1, False), ([1.0] * 9, 9999, False)],
)
def test_more_time_than_has_passed_is_no_number(board, bad, request_for, samples, kept_every, streams):
    body = (
        f"samples = {samples}\n"
        'one = {"round": 0, "rounds_ms": [samples]}\n'
        f"if {streams}: print(json.dumps(one), flush=True)\n"
        f'model = {{"rounds_ms": [samples], "kept_every": {kept_every}}}\n'
        'document = {"ok": True, "runtime": "r", "runtime_version": "1", "machine": {}, "models": [model]}\n'
        'json.dump(document, open(request["result"], "w"))\n'
    )
    line = failure(bad(body), replace(request_for, rounds=1))
    assert "can't be true: it reports" in line
    assert board.remains() == []


@pytest.mark.parametrize("filtering", ["head -c 400", "sed s/rounds_ms/rounds_mz/", "sed s/ok/k/", "true"])
def test_output_that_is_truncated_or_changed_gives_no_number(board, ssh_transport, request_for, filtering):
    """The probe passes; what comes from the agent does not arrive as it was sent."""
    board.fault.write_text(
        f'case $SSH_ORIGINAL_COMMAND in "exec sh"*) ;; *) sh -c "$SSH_ORIGINAL_COMMAND" | {filtering}; exit 0;; esac\n'
    )
    ssh_transport.retry_waits_secs = (0.0,)
    assert "was cut 2 times" in failure(ssh_transport, request_for)
    assert board.remains() == []


def test_stale_folders_go_and_those_of_others_stay(board, ssh_transport, request_for):
    base = board.home / ".cache/edgeprune"
    for name in ("killed", "running"):
        (base / f"{PREFIX}{name}").mkdir(parents=True)
        (base / f"{PREFIX}{name}" / MARKER).write_text("{}")
    holder = (base / f"{PREFIX}running" / MARKER).open("r+")
    fcntl.flock(holder, fcntl.LOCK_EX)
    (base / f"{PREFIX}beginning").mkdir()
    (base / f"{PREFIX}forgotten").mkdir()
    os.utime(base / f"{PREFIX}forgotten", (1e9, 1e9))
    (base / "venv-mine").mkdir()
    outside = board.folder / "outside"
    outside.mkdir()
    (base / f"{PREFIX}link").symlink_to(outside)
    ssh_transport.run(request_for)
    kept = {path.name.removeprefix(PREFIX) for path in base.iterdir()}
    assert kept == {"running", "beginning", "venv-mine", "link"}
    assert outside.is_dir()
    holder.close()


def test_a_second_run_leaves_the_folder_of_a_live_one(board, ssh_transport, request_for):
    """The folder is in use as long as its agent lives, whatever /proc tells about processes."""

    class Done(Exception):
        pass

    def run_another(step: str) -> None:
        if step == "round 0 0":
            with closing(SshTransport(parse_address(board.spec()), retry_waits_secs=())) as other:
                assert len(other.run(request_for).rounds_ms[0]) == 2
            assert len(list(board.home.glob(f".cache/edgeprune/{PREFIX}*/{MARKER}"))) == 1
            raise Done

    with pytest.raises(Done):
        ssh_transport.run(replace(request_for, round_secs=120.0), run_another)
    assert board.remains() == []


def test_closing_from_another_thread_ends_the_run(board, ssh_transport, request_for):
    began = threading.Event()
    errors: list[str] = []

    def measure() -> None:
        try:
            ssh_transport.run(
                replace(request_for, round_secs=60.0), lambda step: began.set() if "round" in step else None
            )
        except DeviceError as error:
            errors.append(str(error))

    thread = threading.Thread(target=measure)
    thread.start()
    assert began.wait(timeout=20)
    ssh_transport.close()
    thread.join(timeout=10)
    assert errors == [f"the run on {ssh_transport.where} was ended"]
    assert board.remains() == []
