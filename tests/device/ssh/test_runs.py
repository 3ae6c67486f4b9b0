"""Runs on a board over a real sshd: results, notes, and nothing left behind."""

from __future__ import annotations

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
