"""`plan`: what it promises adds up, keeps the budget by prediction, and writes nothing."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from edgeprune.errors import InputError
from edgeprune.pipeline.options import Options
from edgeprune.pipeline.planning import PlanReport, make_plan
from edgeprune.records.report import LimitRow
from edgeprune.target import Budget, load_target

pytestmark = pytest.mark.keras

FLOAT32 = Options(quantize="none")


@pytest.fixture(scope="module")
def model():
    """A residual net on (16, 16, 3) whose groups have 32, 24, 32 and 40 channels, and 5 classes."""
    import keras

    keras.utils.set_random_seed(11)
    layers = keras.layers
    inputs = keras.Input((16, 16, 3))
    stem = layers.Conv2D(32, 3, padding="same", strides=2, use_bias=False, name="stem")(inputs)
    stem = layers.ReLU()(layers.BatchNormalization(name="stem_norm")(stem))
    inner = layers.Conv2D(24, 3, padding="same", activation="relu", name="inner")(stem)
    inner = layers.Conv2D(32, 1, name="joined")(inner)
    inner = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(layers.Add()([stem, inner]))
    inner = layers.Conv2D(40, 3, activation="relu", name="last")(inner)
    outputs = layers.Dense(5, activation="softmax", name="classes")(layers.GlobalAveragePooling2D()(inner))
    return keras.Model(inputs, outputs)


def labelled(count: int = 60):
    rng = np.random.default_rng(0)
    return rng.random((count, 16, 16, 3), dtype=np.float32), np.arange(count) % 5


def rows(report: PlanReport) -> dict[str, LimitRow]:
    return {row.name: row for row in report.limits}


@pytest.fixture(scope="module")
def halved(model) -> PlanReport:
    return make_plan(model, "rpi4", budget=Budget(latency_ratio=0.5, size_ratio=0.5), options=FLOAT32)


def test_without_data_channels_are_ranked_by_weight(halved):
    assert halved.criterion == "l1"
    assert 'Without data channels are ranked by "l1"; a build ranks them by "taylor".' in halved.notes
    assert (halved.baseline.metric, halved.planned.metric) == (None, None)


def test_with_data_channels_are_ranked_by_the_loss(model):
    report = make_plan(model, "rpi4", train=labelled(), budget=Budget(latency_ratio=0.5), options=FLOAT32)
    assert report.criterion == "taylor"
    assert not [note for note in report.notes if "Without data" in note]
    assert report.met


def test_the_budget_is_met_by_cutting(halved):
    assert halved.met
    assert halved.planned.latency_ms.value <= 0.5 * halved.baseline.latency_ms.value
    assert halved.planned.size_bytes <= 0.5 * halved.baseline.size_bytes
    assert halved.planned.macs < halved.baseline.macs
    assert halved.planned.params < halved.baseline.params


def test_the_baseline_is_the_dense_model(model, halved):
    """Its file is really converted; MACs and parameters by hand."""
    from edgeprune.export.convert import convert

    assert halved.baseline.size_bytes == len(convert(model, "none"))
    assert halved.baseline.params == model.count_params()
    positions, inside = 8 * 8, 6 * 6
    assert halved.baseline.macs == (
        positions * (9 * 3 * 32 + 9 * 32 * 24 + 24 * 32 + 9 * 32) + inside * 9 * 32 * 40 + 40 * 5
    )
    assert (halved.baseline.quantize, halved.baseline.latency_ms.method) == ("none", "predicted")
    assert halved.baseline.latency_ms.threads == load_target("rpi4").threads


def test_layers_add_up_and_keep_the_multiple(halved):
    """In execution order; coupled layers keep equal counts; the classes stay."""
    layers = {row.layer: row for row in halved.layers}
    assert list(layers) == ["stem", "inner", "joined", "depthwise", "last", "classes"]
    assert sum(row.macs_before for row in halved.layers) == halved.baseline.macs
    assert sum(row.macs_after for row in halved.layers) == halved.planned.macs
    assert [row.channels_before for row in halved.layers] == [32, 24, 32, 32, 40, 5]
    assert all(row.channels_after == row.channels_before or row.channels_after % 8 == 0 for row in halved.layers)
    assert layers["stem"].channels_after == layers["joined"].channels_after == layers["depthwise"].channels_after
    assert layers["classes"].channels_after == 5
    inner, stem = layers["inner"], layers["stem"]
    assert inner.params_before == 9 * 32 * 24 + 24
    assert inner.params_after == 9 * stem.channels_after * inner.channels_after + inner.channels_after
    # what is not in the rows: pooling, additions and the like
    assert sum(row.latency_ms_before for row in halved.layers) < halved.baseline.latency_ms.value


def test_mixed_limits_are_in_the_users_units(model):
    """Absolute and relative limits of one cost: the tighter one counts."""
    budget = Budget(latency_ratio=0.9, latency_ms=1000.0, size_kb=60.0, ram_ratio=0.8, max_accuracy_drop=0.02)
    report = make_plan(model, "rpi4", budget=budget, options=FLOAT32)
    found = rows(report)
    assert list(found) == ["latency_ms", "size_kb", "ram_kb"]
    base, planned = report.baseline, report.planned
    assert found["latency_ms"].limit == pytest.approx(0.9 * base.latency_ms.value)
    assert found["size_kb"].limit == pytest.approx(60.0)
    assert found["ram_kb"].limit == pytest.approx(0.8 * base.peak_ram_bytes / 1000, abs=0.001)
    for name, before, after in (
        ("latency_ms", base.latency_ms.value, planned.latency_ms.value),
        ("size_kb", base.size_bytes / 1000, planned.size_bytes / 1000),
        ("ram_kb", base.peak_ram_bytes / 1000, planned.peak_ram_bytes / 1000),
    ):
        assert found[name].baseline == pytest.approx(before)
        assert found[name].result == pytest.approx(after)
        assert found[name].met
        assert found[name].result <= found[name].limit
    assert report.budget["size_kb"] == 60.0
    assert report.budget["latency_ratio"] == 0.9
    assert "Whether the accuracy drop stays within 0.02 only a build can tell." in report.notes


def test_a_budget_out_of_reach_is_reported_not_raised(model):
    """Every group is at its smallest, 8 channels, and the row says what stops it."""
    report = make_plan(model, "rpi4", budget=Budget(size_kb=0.5, latency_ratio=1.0), options=FLOAT32)
    assert not report.met
    assert [(row.name, row.met) for row in report.limits] == [("latency_ms", True), ("size_kb", False)]
    assert rows(report)["size_kb"].result > 0.5
    assert [row.channels_after for row in report.layers] == [8, 8, 8, 8, 8, 5]
    assert report.to_json()["met"] is False


def test_limits_that_are_met_cut_nothing(model):
    """The same mode at the dense model's own costs: the plan is the baseline."""
    budget = Budget(latency_ratio=1.0, size_ratio=1.0, ram_ratio=1.0)
    report = make_plan(model, "rpi4", budget=budget, options=FLOAT32)
    assert report.met
    assert report.planned == report.baseline
    assert all(row.channels_after == row.channels_before for row in report.layers)


def test_without_a_budget_the_targets_own_counts(model):
    target = load_target("rpi4")
    report = make_plan(model, target, options=FLOAT32)
    assert report.budget["latency_ratio"] == target.budget.latency_ratio
    assert report.budget["size_ratio"] == target.budget.size_ratio
    assert {row.name for row in report.limits} == {"latency_ms", "size_kb"}


def test_auto_plans_the_fastest_mode_and_says_so(model):
    """int8 has the highest rate on a Pi 4; its weights take a quarter of the bytes."""
    report = make_plan(model, "rpi4", budget=Budget(size_ratio=0.9))
    assert (report.baseline.quantize, report.planned.quantize) == ("none", "int8")
    assert "Costs are those of int8; a build takes it only if the accuracy allows." in report.notes
    assert all(row.channels_after == row.channels_before for row in report.layers)
    assert report.planned.size_bytes < 0.6 * report.baseline.size_bytes
    assert report.planned.peak_ram_bytes < 0.5 * report.baseline.peak_ram_bytes


@pytest.mark.parametrize("train", [None, labelled()], ids=["without data", "with data"])
def test_the_same_inputs_give_the_same_plan(model, train):
    budget = Budget(latency_ratio=0.6, ram_ratio=0.7)
    first, second = (make_plan(model, "rpi4", train=train, budget=budget, options=FLOAT32) for _ in range(2))
    assert first == second


def test_the_report_is_json(halved):
    document = halved.to_json()
    text = json.dumps(document, allow_nan=False)
    again = json.loads(text)
    assert json.dumps(again, allow_nan=False) == text
    assert {"schema", "target", "baseline", "planned", "budget", "limits", "layers", "frozen", "met"} <= set(again)
    assert again["planned"]["latency_ms"]["device"] == load_target("rpi4").title
    assert again["met"] is True


def test_every_frozen_layer_is_named_once_with_its_reasons():
    """A layer without a rule freezes what reaches it from both sides; the output keeps its classes."""
    import keras

    class Strange(keras.layers.Layer):
        def call(self, left, right):
            return keras.ops.sort(left, axis=-1) + keras.ops.flip(right, axis=-1)

    inputs = keras.Input((8, 8, 3))
    left, right = (keras.layers.Conv2D(16, 1, name=name)(inputs) for name in ("left", "right"))
    joined = Strange(name="strange")(left, right)
    free = keras.layers.Conv2D(16, 1, name="free")(joined)
    pooled = keras.layers.GlobalAveragePooling2D()(free)
    heads = [keras.layers.Dense(3, activation="softmax", name=name)(pooled) for name in ("one", "two")]
    report = make_plan(keras.Model(inputs, heads), "rpi4", budget=Budget(size_ratio=0.1), options=FLOAT32)
    names = [row.layer for row in report.frozen]
    assert sorted(names) == ["one", "strange", "two"]
    reasons = {row.layer: row.reason for row in report.frozen}
    assert reasons == {"one": "model output", "two": "model output", "strange": "no rule for Strange"}
    after = {row.layer: row.channels_after for row in report.layers}
    assert after == {"left": 16, "right": 16, "free": 8, "one": 3, "two": 3}


def test_a_model_by_its_path_and_nothing_is_written(model, halved, tmp_path, monkeypatch):
    model.save(tmp_path / "m.keras")
    monkeypatch.chdir(tmp_path)
    report = make_plan(tmp_path / "m.keras", "rpi4", budget=Budget(latency_ratio=0.5, size_ratio=0.5), options=FLOAT32)
    assert report == halved
    assert [entry.name for entry in tmp_path.iterdir()] == ["m.keras"]


def test_the_given_model_is_not_changed(model):
    before = [np.asarray(value).copy() for value in model.variables]
    make_plan(model, "rpi4", train=labelled(), budget=Budget(latency_ratio=0.3))
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(np.asarray(variable), value)
    assert not model.compiled


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"quantize": "int4"}, 'unknown quantize mode "int4"'),
        ({"criterion": "tailor"}, 'unknown criterion "tailor"; did you mean "taylor"'),
        ({"criterion": "snip"}, "this criterion needs data"),
        ({"allocation": "greedi"}, 'unknown allocation "greedi"; did you mean "greedy"'),
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1; got 0"),
    ],
)
def test_bad_options_are_refused(model, change, message):
    with pytest.raises(InputError, match=message):
        make_plan(model, "rpi4", options=replace(FLOAT32, **change))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"target": "rpi44"}, 'unknown target "rpi44"; did you mean "rpi4"'),
        ({"model": "nowhere.keras"}, r"nowhere\.keras"),
        (
            {"model": object()},
            "make_plan: model must be a keras.Model, or the path of a .keras or .h5 file; received object",
        ),
        ({"budget": Budget(size_ratio=2.0)}, "size_ratio"),
    ],
)
def test_bad_inputs_are_refused(model, arguments, message):
    given = {"model": model, "target": "rpi4", **arguments}
    with pytest.raises(InputError, match=message):
        make_plan(given.pop("model"), given.pop("target"), **given)
