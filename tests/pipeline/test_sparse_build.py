"""`build` and `make_plan` with the strategies "sparse" and N:M: zeros where they were asked for, in the model, the
file, the plan and the report; and a build that was killed ends with the same weights."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import edgeprune as ep
from edgeprune.recover import checkpoint
from edgeprune.tflite.inspect import inspect

pytestmark = pytest.mark.keras

OPTIONS = ep.Options(strategy="sparse", epochs=3, rounds=1)
LOOSE = ep.Budget(size_ratio=1.0, max_accuracy_drop=1)


@pytest.fixture(autouse=True)
def _short_benchmark(monkeypatch, tmp_path):
    monkeypatch.setattr("edgeprune.device.bench.QUICK_ROUND_SECS", 0.01)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def model():
    """(8, 8, 3) -> 3 classes; dropout and BatchNorm make training random."""
    import keras

    keras.utils.set_random_seed(5)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(16, 3, padding="same", use_bias=False, name="stem"),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.DepthwiseConv2D(3, name="depthwise"),
            layers.Conv2D(64, 3, strides=2, activation="relu", name="wide"),
            layers.GlobalAveragePooling2D(),
            layers.Dropout(0.2),
            layers.Dense(128, activation="relu", name="hidden"),
            layers.Dense(3, activation="softmax", name="classes"),
        ]
    )
    for bias in (value for value in model.trainable_variables if value.path.endswith(("bias", "beta"))):
        bias.assign(keras.random.normal(bias.shape, stddev=0.1))  # equal zeros would be stored once
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@pytest.fixture(scope="module")
def arrays():
    y = np.arange(160) % 3
    x = np.random.default_rng(0).normal(0, 0.5, (160, 8, 8, 3)).astype(np.float32)
    x[np.arange(160), :, :, y] += 1
    return x, y


def kernels(model) -> dict[str, np.ndarray]:
    return {
        layer.name: np.asarray(layer.kernel) for layer in model.layers if getattr(layer, "kernel", None) is not None
    }


@pytest.fixture(scope="module")
def undisturbed(model, arrays, tmp_path_factory):
    """An 80 % sparse build nothing happened to."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edgeprune.device.bench.QUICK_ROUND_SECS", 0.01)
        before = [weight.copy() for weight in model.get_weights()]
        folder = tmp_path_factory.mktemp("sparse")
        result = ep.build(model, "rpi4", train=arrays, budget=LOOSE, options=OPTIONS, output=folder / "out")
        for old, new in zip(before, model.get_weights(), strict=True):
            np.testing.assert_array_equal(old, new)
    return result


def test_all_kernels_together_have_their_share_of_zeros(undisturbed):
    """Depthwise kernels are left alone; each kernel's share is rounded to whole weights before they are summed."""
    found = kernels(undisturbed.load_model())
    assert np.all(found.pop("depthwise"))
    zeros = sum(np.count_nonzero(value == 0) for value in found.values())
    assert zeros == sum(round(0.8 * value.size) for value in found.values())


def test_the_zeros_of_the_file_are_those_of_the_model(undisturbed):
    zeros = sum(int((value == 0).sum()) for value in kernels(undisturbed.load_model()).values())
    summary = inspect(undisturbed.tflite)
    assert sum(round(w.zero_fraction * int(np.prod(w.shape))) for w in summary.weights) == zeros
    assert [weight.is_sparse for weight in summary.weights if weight.shape == (64, 3, 3, 16)] == [True]
    assert undisturbed.report.result.size_bytes == summary.size_bytes


def test_the_report_tells_zeros_and_no_speed_up(undisturbed):
    report = undisturbed.report
    assert report.strategy == "sparse"
    found = kernels(undisturbed.load_model())
    assert {row.layer: row.sparsity_after for row in report.layers} == {
        name: pytest.approx(np.mean(value == 0)) for name, value in found.items()
    }
    assert all(row.sparsity_before == 0 and row.channels_before == row.channels_after for row in report.layers)
    every = found.values()
    zeros = sum(np.count_nonzero(value == 0) for value in every) / sum(value.size for value in every)
    assert (report.baseline.sparsity, report.result.sparsity) == (0.0, pytest.approx(zeros))
    assert report.result.latency_ms.value == report.baseline.latency_ms.value
    assert any("no speed-up from them is claimed" in note for note in report.notes)
    assert [(row.sparsity > 0.79, row.epochs) for row in report.rounds] == [(True, 6)]
    document = json.loads((undisturbed.folder / "report.json").read_text())
    assert document["layers"][0]["sparsity_after"] == report.layers[0].sparsity_after
    page = (undisturbed.folder / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 4
    dynamic = next(trial for trial in report.quantize_trials if trial.quantize == "dynamic")
    assert (dynamic.metric, dynamic.chosen) == (None, False)


class Killed(BaseException):
    """Not an Exception, so that nothing on the way takes it for an error to deal with."""


@pytest.mark.parametrize("killed_at", [2, 4, 5], ids=["while pruning", "after pruning", "while fine-tuning"])
def test_killed_and_continued_the_same_weights_come_out(model, arrays, tmp_path, monkeypatch, undisturbed, killed_at):
    """Three epochs of pruning, then three of fine-tuning, one state after each; killed as a state was written."""
    saved = 0
    save = checkpoint.save

    def killing(*arguments) -> None:
        nonlocal saved
        save(*arguments)
        saved += 1
        if saved == killed_at:
            raise Killed

    def build():
        return ep.build(model, "rpi4", train=arrays, budget=LOOSE, options=OPTIONS, output=tmp_path / "out")

    monkeypatch.setattr(checkpoint, "save", killing)
    with pytest.raises(Killed):
        build()
    monkeypatch.setattr(checkpoint, "save", save)
    again = build()
    for mine, theirs in zip(again.load_model().get_weights(), undisturbed.load_model().get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert again.tflite.read_bytes() == undisturbed.tflite.read_bytes()


def test_two_of_four_along_the_inputs(model, arrays, tmp_path):
    options = replace(OPTIONS, strategy="2:4", epochs=1)
    result = ep.build(model, "rpi4", train=arrays, budget=LOOSE, options=options, output=tmp_path / "out")
    found = kernels(result.load_model())
    for name in ("wide", "hidden"):
        inputs_last = np.moveaxis(found[name], -2, -1)
        groups = inputs_last.reshape(-1, 4)
        assert np.all(np.count_nonzero(groups, axis=1) == 2)
    # 3 inputs: as if padded to 4 by a zero that counts
    assert np.all(np.count_nonzero(np.moveaxis(found["stem"], -2, -1), axis=-1) == 2)
    assert result.report.strategy == "2:4"


def test_channels_go_first_where_time_is_short(model, arrays, tmp_path):
    """Zeros save no time, so a latency limit takes channels; the smaller model is then made sparse."""
    budget = ep.Budget(latency_ratio=0.8, max_accuracy_drop=1)
    options = replace(OPTIONS, epochs=1, quantize="float16", sparsity=0.7, allocation="knapsack")
    result = ep.build(model, "rpi4", train=arrays, budget=budget, options=options, output=tmp_path / "out")
    report = result.report
    assert report.met
    assert [row.sparsity > 0 for row in report.rounds] == [False, True]
    assert any(row.channels_after < row.channels_before for row in report.layers)
    found = kernels(result.load_model())
    del found["depthwise"]
    zeros = sum(np.count_nonzero(value == 0) for value in found.values())
    assert zeros == sum(round(0.7 * value.size) for value in found.values())


def test_a_size_that_the_zeros_just_miss_takes_more_zeros(model, arrays, tmp_path, monkeypatch):
    """The plan hopes for 5 % less than the file has: the limit is missed by less than channels are worth."""
    import edgeprune.pipeline.goal as goal

    options = replace(OPTIONS, epochs=0, quantize="none")
    first = ep.build(model, "rpi4", train=arrays, budget=LOOSE, options=options, output=tmp_path / "first")
    limit = first.report.result.size_bytes * 0.97
    saved = goal.saved_bytes
    monkeypatch.setattr(goal, "saved_bytes", lambda kernels, mode: saved(kernels, mode) + 0.05 * limit)
    budget = ep.Budget(size_kb=limit / 1000, max_accuracy_drop=1)
    second = ep.build(model, "rpi4", train=arrays, budget=budget, options=options, output=tmp_path / "second").report
    assert second.met
    assert 0.8 < second.rounds[1].sparsity < 0.85
    assert all(row.channels_after == row.channels_before for row in second.layers)


def test_a_pattern_that_misses_the_size_takes_channels(model, arrays, tmp_path, monkeypatch):
    """2:4 fixes the sparsity. The channels go from the model before its zeros, which are made again."""
    import edgeprune.pipeline.goal as goal

    options = replace(OPTIONS, strategy="2:4", epochs=0, quantize="none", allocation="knapsack")
    first = ep.build(model, "rpi4", train=arrays, budget=LOOSE, options=options, output=tmp_path / "first")
    limit = first.report.result.size_bytes * 0.97
    saved = goal.saved_bytes
    monkeypatch.setattr(goal, "saved_bytes", lambda kernels, mode: saved(kernels, mode) + 0.05 * limit)
    budget = ep.Budget(size_kb=limit / 1000, max_accuracy_drop=1)
    second = ep.build(model, "rpi4", train=arrays, budget=budget, options=options, output=tmp_path / "second").report
    assert second.met
    assert [row.sparsity > 0 for row in second.rounds] == [True, False, True]
    assert any(row.channels_after < row.channels_before for row in second.layers)
    assert {row.layer: row.sparsity_after for row in second.layers}["hidden"] == 0.5


def test_more_training_keeps_the_zeros(model, arrays, tmp_path, monkeypatch):
    """An accuracy that is always missed: two more rounds train, and the closest model is sparse."""
    monkeypatch.setattr("edgeprune.pipeline.search.drop", lambda before, after, higher_is_better: 1.0)
    budget = ep.Budget(size_ratio=1.0, max_accuracy_drop=0.01)
    options = replace(OPTIONS, epochs=1)
    with pytest.raises(ep.BudgetError, match="accuracy"):
        ep.build(model, "rpi4", train=arrays, budget=budget, options=options, output=tmp_path / "out")
    document = json.loads((tmp_path / "out" / "report.json").read_text())
    sparsities = [row["sparsity"] for row in document["rounds"]]
    assert len(sparsities) == 3
    assert len(set(sparsities)) == 1
    assert sparsities[0] == pytest.approx(0.8, abs=0.001)


def test_a_budget_out_of_reach_counts_the_zeros(model, arrays, tmp_path):
    with pytest.raises(ep.BudgetError, match="pruning channels and 80% zeros: closest"):
        ep.build(model, "rpi4", train=arrays, budget=ep.Budget(size_kb=0.5), options=OPTIONS, output=tmp_path / "out")


def test_a_plan_has_the_sparsity_and_size_of_the_build(model, arrays, undisturbed):
    plan = ep.make_plan(model, "rpi4", train=arrays, budget=LOOSE, options=OPTIONS)
    built = undisturbed.report
    assert plan.planned.sparsity == built.result.sparsity
    for planned, made in zip(plan.layers, built.layers, strict=True):
        # which weights go is decided while they are trained
        assert planned.sparsity_after == pytest.approx(made.sparsity_after, abs=0.2), planned.layer
    assert plan.planned.quantize == built.result.quantize == "float16"
    assert plan.planned.size_bytes == pytest.approx(built.result.size_bytes, rel=0.05)
    assert plan.planned.peak_ram_bytes == pytest.approx(built.result.peak_ram_bytes, rel=0.05)
    assert plan.met
    assert any("no speed-up from them is claimed" in note for note in plan.notes)


def test_a_plan_of_n_of_m_and_of_channels(model):
    budget = ep.Budget(latency_ratio=0.8)
    options = ep.Options(strategy="1:4", quantize="float16")
    plan = ep.make_plan(model, "rpi4", budget=budget, options=options)
    assert any(row.channels_after < row.channels_before for row in plan.layers)
    shares = {row.layer: row.sparsity_after for row in plan.layers}
    # of 3 inputs 2 go; multiples of 8 channels divide by 4
    assert shares["stem"] == pytest.approx(2 / 3)
    assert shares["wide"] == shares["hidden"] == shares["classes"] == 0.75


def test_sparsity_zero_is_no_sparse_build(model):
    plan = ep.make_plan(model, "rpi4", budget=LOOSE, options=replace(OPTIONS, sparsity=0))
    assert plan.planned.sparsity == 0


def test_a_limit_on_time_prefers_int8(model):
    """float16 is the first choice for zeros, but as slow as float32: where time is short int8 comes first."""
    fast = ep.make_plan(model, "rpi4", budget=ep.Budget(latency_ratio=0.7), options=OPTIONS)
    small = ep.make_plan(model, "rpi4", budget=ep.Budget(size_ratio=0.5), options=OPTIONS)
    assert (fast.planned.quantize, small.planned.quantize) == ("int8", "float16")


def test_nothing_to_make_sparse_is_an_error(tmp_path):
    import keras

    inputs = keras.Input((8, 8, 4))
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.DepthwiseConv2D(3)(inputs))
    with pytest.raises(ep.InputError, match="no weights are left to prune"):
        ep.make_plan(keras.Model(inputs, pooled), "rpi4", options=OPTIONS)
    assert not list(Path(tmp_path).iterdir())
