"""Runs on a board over a real sshd: results, notes, and nothing left behind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.device


def test_a_run_and_its_progress(board, ssh_transport, request_for):
    steps: list[str] = []
    result = ssh_transport.run(request_for, steps.append)
    assert steps == ["memory 0", "load 0", "warmup 0", "round 0 0", "round 0 1"]
    assert result.runtime.startswith("ai-edge-litert ")
    assert [len(rounds) for rounds in result.rounds_ms] == [2]
    assert result.peak_rss_kb[0] > 0
    assert result.notes == ()
    assert board.remains() == []


def bench(*arguments: object) -> subprocess.Popen[str]:
    """The command line in a process of its own."""
    command = [sys.executable, "-m", "edgeprune", "bench", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_ctrl_c_leaves_nothing_on_the_board(board, request_for):
    process = bench(request_for.models[0], "--device", board.spec(), "--rounds", 5)
    assert board.wait_for_run()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err.strip()) == (130, "", "edgeprune: interrupted")
    assert board.remains(wait_secs=0) == []


def test_ctrl_c_ends_several_devices(board, request_for):
    process = bench(request_for.models[0], "--device", board.spec(), "--device", "local", "--rounds", 5)
    assert board.wait_for_run()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err.strip()) == (130, "", "edgeprune: interrupted")
    assert board.remains(wait_secs=0) == []


def test_a_board_and_one_that_is_gone_in_one_json_list(board, request_for):
    gone = "ssh://nobody@127.0.0.1:9"  # the discard service, which nothing here offers
    process = bench(request_for.models[0], "--quick", "--json", "--device", board.spec(), "--device", gone)
    out, err = process.communicate(timeout=60)
    measured, failed = json.loads(out)
    assert process.returncode == 4
    assert err.splitlines()[-1].startswith(f"edgeprune: {gone}: nobody@127.0.0.1 refuses the connection")
    assert measured["device"] == board.spec().partition("?")[0]
    assert len(measured["model"]["samples_ms"]) > 1
    assert failed["exit_code"] == 4


def test_the_folder_on_the_board_is_private(board, ssh_transport, request_for):
    """Only this user can look into it, whatever the login's own umask is."""
    board.fault.write_text("umask 000\n")
    modes: list[int] = []

    def look(step: str) -> None:
        (folder,) = board.home.glob(".cache/edgeprune/edgeprune-run-*")
        modes.extend(path.stat().st_mode & 0o077 for path in (folder, *folder.iterdir()))

    ssh_transport.run(request_for, look)
    assert modes
    assert set(modes) == {0}
    assert not list(Path(board.home).glob(".cache/edgeprune/*"))
