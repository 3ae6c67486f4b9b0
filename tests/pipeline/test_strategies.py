"""The strategy "auto": which candidates are trained, which one wins, and what the report says of the others."""

from __future__ import annotations

import json

import pytest

import edgeprune as ep
from edgeprune.pipeline.strategies import BOTH, CHANNELS, DENSE, ZEROS
from tests.pipeline.small_mobile import colours, small_mobile

pytestmark = pytest.mark.keras

NAMES = {DENSE, CHANNELS, ZEROS, BOTH}


@pytest.fixture(autouse=True)
def _short_benchmark(monkeypatch):
    monkeypatch.setattr("edgeprune.device.bench.QUICK_ROUND_SECS", 0.01)


@pytest.fixture(scope="module")
def model():
    model = small_mobile(64)
    model.fit(*colours(), epochs=8, verbose=0)
    return model


def built(model, tmp_path, budget, **options):
    given = ep.Options(**{"epochs": 2, "rounds": 1, "allocation": "knapsack"} | options)
    return ep.build(model, "rpi4", train=colours(), budget=budget, options=given, output=tmp_path / "out")


def test_plain_int8_wins_where_it_keeps_the_budget(model, tmp_path):
    result = built(model, tmp_path, ep.Budget(latency_ratio=0.9, max_accuracy_drop=0.5))
    report = result.report
    assert {row.strategy for row in report.strategy_trials} == NAMES
    chosen, *others = report.strategy_trials
    assert (chosen.strategy, chosen.quantize, chosen.keeps_budget) == (DENSE, "int8", True)
    assert all(row.metric is None and "not needed" in row.reason for row in others)
    assert any("Plain int8 wins" in note for note in report.notes)
    assert not report.rounds
    page = (result.folder / "report.html").read_text()
    assert 'id="strategies"' in page


def test_zeros_and_channels_are_both_trained_where_int8_is_too_slow(model, tmp_path):
    result = built(model, tmp_path, ep.Budget(latency_ratio=0.2, max_accuracy_drop=0.9))
    report = result.report
    rows = {row.strategy: row for row in report.strategy_trials}
    assert set(rows) == NAMES
    assert rows[DENSE].keeps_budget is False
    for name in (CHANNELS, BOTH):
        assert rows[name].metric is not None, rows[name].reason
        assert rows[name].latency_ms is not None
    assert report.met
    chosen = report.strategy_trials[0]
    assert chosen.chosen
    assert (chosen.latency_ms, chosen.size_bytes) == (report.result.latency_ms.value, report.result.size_bytes)
    assert report.result.size_bytes == result.tflite.stat().st_size
    document = json.loads((result.folder / "report.json").read_text())
    assert [row["strategy"] for row in document["strategy_trials"]] == [row.strategy for row in report.strategy_trials]
    # continued, nothing is trained again and the same one wins
    again = built(model, tmp_path, ep.Budget(latency_ratio=0.2, max_accuracy_drop=0.9))
    assert again.report.strategy_trials == report.strategy_trials


def test_int8_asked_for_leaves_no_sparse_candidate(model, tmp_path):
    report = built(model, tmp_path, ep.Budget(latency_ratio=0.9, max_accuracy_drop=0.5), quantize="int8").report
    rows = {row.strategy: row for row in report.strategy_trials}
    assert "sparse kernels compute in float" in rows[ZEROS].reason


def test_a_budget_that_nothing_keeps_names_the_closest(model, tmp_path):
    with pytest.raises(ep.BudgetError, match="can't be met by pruning channels"):
        built(model, tmp_path, ep.Budget(size_kb=1))
