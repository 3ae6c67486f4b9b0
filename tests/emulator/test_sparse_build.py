"""A sparse build for a board that is set up: the report tells what the board did, not what was predicted."""

from __future__ import annotations

import pytest

import edgeprune as ep
from edgeprune.boards.setup import setup_board
from tests.pipeline.small_mobile import colours, small_mobile

pytestmark = pytest.mark.emulator


def test_kernels_are_seen_and_instructions_counted(tmp_path, monkeypatch, board_cache, own_cache):
    monkeypatch.setenv("XDG_CACHE_HOME", board_cache)
    setup_board("rpi4")
    monkeypatch.setattr("edgeprune.device.bench.QUICK_ROUND_SECS", 0.01)
    options = ep.Options(strategy="sparse", sparsity=0.9, epochs=1, rounds=1, device="emulator:rpi4")
    budget = ep.Budget(size_ratio=1.0, max_accuracy_drop=1)
    report = ep.build(
        small_mobile(96), "rpi4", train=colours(), budget=budget, options=options, output=tmp_path / "out"
    ).report
    sparse = report.sparse_inference
    assert sparse is not None
    assert (sparse.engaged, sparse.how_known) == (True, "emulated")
    assert sparse.instructions_dense is not None
    assert sparse.instructions_sparse is not None
    assert sparse.instructions_sparse < 0.8 * sparse.instructions_dense
    assert report.instructions is not None
    assert report.instructions.model.instructions == pytest.approx(sparse.instructions_sparse, rel=0.001)
    assert report.bench is not None
    assert report.bench.device == "local"
