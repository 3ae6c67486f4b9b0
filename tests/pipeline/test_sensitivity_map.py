"""The sensitivity map: masking equals cutting, nothing is left changed, and a second look is free."""

from __future__ import annotations

import numpy as np
import pytest

from edgeprune.pipeline.analysis import analyse
from edgeprune.pipeline.contest import ranked
from edgeprune.pipeline.sensitivity import measure, sensitivity_map
from edgeprune.plan.sensitivity import probe_counts

pytestmark = pytest.mark.keras

X = np.random.default_rng(0).random((8, 6, 6, 2)).astype("float32")


@pytest.fixture
def analysis():
    import keras

    inputs = keras.Input((6, 6, 2))
    x = keras.layers.Conv2D(8, 3, activation="relu")(inputs)
    x = keras.layers.DepthwiseConv2D(3, activation="relu")(x)
    x = keras.layers.Conv2D(4, 1, activation="relu")(x)
    return analyse(keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Flatten()(x))))


def mean_output(model) -> float:
    """Stands for a loss."""
    return float(np.mean(model(X)))


def test_harm_is_what_cutting_that_group_alone_changes(analysis):
    scores = analysis.scores("l1")
    counts = tuple(probe_counts(len(own), 2, 3) for own in scores)
    harm = measure(analysis, scores, counts, lambda: mean_output(analysis.model))
    full = mean_output(analysis.model)
    for group, levels in enumerate(counts):
        for place, count in enumerate(levels):
            kept = analysis.network.full.copy()
            kept[group] = count
            expected = mean_output(analysis.shrink(scores, kept)) - full
            assert harm[group][place] == pytest.approx(expected, abs=1e-5)


def test_measuring_leaves_the_weights_as_they_were(analysis):
    before = analysis.model.get_weights()
    scores = analysis.scores("l1")
    measure(analysis, scores, tuple(probe_counts(len(own), 2, 3) for own in scores), lambda: 0.0)
    assert all((a == b).all() for a, b in zip(before, analysis.model.get_weights(), strict=True))


def test_weights_are_restored_when_judging_fails(analysis):
    before = analysis.model.get_weights()
    scores = analysis.scores("l1")
    calls = iter([0.0])  # the second call raises StopIteration
    with pytest.raises(StopIteration):
        measure(analysis, scores, tuple(probe_counts(len(own), 2, 3) for own in scores), lambda: next(calls))
    assert all((a == b).all() for a, b in zip(before, analysis.model.get_weights(), strict=True))


def test_a_map_is_measured_once(analysis, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    scores = analysis.scores("l1")
    calls = []

    def judge() -> float:
        calls.append(1)
        return mean_output(analysis.model)

    first = sensitivity_map(analysis, scores, 2, judge, "this model")
    measured = len(calls)
    second = sensitivity_map(analysis, scores, 2, judge, "this model")
    assert len(calls) == measured > 0
    assert all((a == b).all() for a, b in zip(first.harm, second.harm, strict=True))
    sensitivity_map(analysis, scores, 2, judge, "another model")
    assert len(calls) == 2 * measured


def test_a_damaged_cache_is_measured_again(analysis, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    scores = analysis.scores("l1")
    first = sensitivity_map(analysis, scores, 2, lambda: mean_output(analysis.model), "this model")
    (stored,) = tmp_path.rglob("*.json")
    stored.write_text("{")
    second = sensitivity_map(analysis, scores, 2, lambda: mean_output(analysis.model), "this model")
    assert all((a == b).all() for a, b in zip(first.harm, second.harm, strict=True))


def test_candidates_are_ranked_by_metric_then_by_what_they_know():
    rows = [
        {"allocation": "uniform", "metric": 0.9},
        {"allocation": "greedy", "metric": None},
        {"allocation": "knapsack", "metric": 0.9},
        {"allocation": "depth", "metric": 0.8},
    ]
    assert [row["allocation"] for row in ranked(rows, True)] == ["knapsack", "uniform", "depth", "greedy"]
    assert [row["allocation"] for row in ranked(rows, False)] == ["depth", "knapsack", "uniform", "greedy"]
