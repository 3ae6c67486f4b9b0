"""`--strategy sparse` on networks with 1x1 convolutions: the file runs sparse kernels on the target, or the build ends
with the reason before anything is trained."""

from __future__ import annotations

from dataclasses import replace

import pytest

import edgeprune as ep
from edgeprune.target import Runtime, load_target
from edgeprune.tflite.flatbuffer import read_model
from edgeprune.tflite.sparse_inference.predict import predict
from tests.pipeline.small_mobile import colours, small_mobile

pytestmark = pytest.mark.keras

OPTIONS = ep.Options(strategy="sparse", epochs=1, rounds=1)
LOOSE = ep.Budget(size_ratio=1.0, max_accuracy_drop=1)


@pytest.fixture(autouse=True)
def _short_benchmark(monkeypatch):
    monkeypatch.setattr("edgeprune.device.bench.QUICK_ROUND_SECS", 0.01)


@pytest.fixture(scope="module")
def model():
    return small_mobile(96)


def built(model, tmp_path, options=OPTIONS, target="rpi4", budget=LOOSE):
    return ep.build(model, target, train=colours(), budget=budget, options=options, output=tmp_path / "out")


def verdict(path) -> str:
    target = load_target("rpi4")
    return predict(read_model(path), target.runtime.package, target.runtime.version, target.isa).verdict


def test_the_file_runs_sparse_kernels_and_the_report_says_what_that_saves(model, tmp_path):
    result = built(model, tmp_path)
    report = result.report
    assert verdict(result.tflite) == "sparse"
    assert report.sparse_inference is not None
    assert report.sparse_inference.engaged
    assert report.sparse_inference.how_known == "predicted"
    assert report.sparse_inference.instructions_sparse is None
    assert report.result.quantize == "float16"
    assert report.result.latency_ms.value < report.baseline.latency_ms.value
    assert any("runs sparse kernels" in note for note in report.notes)


def test_a_processor_without_sparse_kernels_is_told_before_training(model, tmp_path, monkeypatch):
    def never(*arguments, **given):
        raise AssertionError("trained")

    monkeypatch.setattr("edgeprune.pipeline.rounds.finetune", never)
    with pytest.raises(ep.ValidationError, match="would run no sparse kernels on this model: XNNPACK has no sparse"):
        built(model, tmp_path, target="host")
    assert not (tmp_path / "out" / "model.tflite").exists()


def test_too_few_zeros_are_told_with_the_rule(model, tmp_path):
    with pytest.raises(ep.ValidationError, match="2/3"):
        built(model, tmp_path, replace(OPTIONS, sparsity=0.5))


def test_a_smaller_file_alone_can_be_asked_for(model, tmp_path):
    report = built(model, tmp_path, replace(OPTIONS, allow_dense_kernels=True), target="host").report
    assert report.sparse_inference is not None
    assert not report.sparse_inference.engaged
    assert report.result.sparsity == pytest.approx(0.8, abs=0.05)
    assert report.result.size_bytes < report.baseline.size_bytes
    assert any("no speed-up from them is claimed" in note for note in report.notes)


def test_int8_is_built_for_the_file_and_says_so(model, tmp_path):
    report = built(model, tmp_path, replace(OPTIONS, quantize="int8")).report
    assert report.sparse_inference is not None
    assert not report.sparse_inference.engaged
    assert any("no speed-up from them is claimed" in note for note in report.notes)


def test_a_processor_whose_sparse_kernels_gain_nothing_is_promised_nothing(model, tmp_path):
    report = built(
        model, tmp_path, target=replace(load_target("rpi3"), runtime=Runtime("ai-edge-litert", "2.3.0"))
    ).report
    assert report.sparse_inference is not None
    assert report.sparse_inference.engaged
    assert report.result.latency_ms.value >= 0.9 * report.baseline.latency_ms.value
    assert any("no time is promised" in note for note in report.notes)


def test_symmetric_padding_is_trained_where_only_that_runs(model, tmp_path, monkeypatch):
    """Without the exact ways to the stem that sparse kernels want, the model is rewritten and then trained."""
    from edgeprune.export.passes.apply import PASSES, apply_passes

    exact = {"mirror_image", "embed_depthwise", "recast_stem"} & {each.name for each in PASSES}

    def without_mirror(given, *, finetuned):
        return apply_passes(given, finetuned=finetuned, without=exact)

    monkeypatch.setattr("edgeprune.pipeline.artifact.apply_passes", without_mirror)
    result = built(model, tmp_path)
    assert verdict(result.tflite) == "sparse"
    names = [type(layer).__name__ for layer in result.load_model().layers]
    assert "ZeroPadding2D" in names
    assert "ZeroPadding2D" not in [type(layer).__name__ for layer in model.layers]


def test_a_plan_counts_the_time_that_zeros_save(model):
    few = ep.make_plan(model, "rpi4", budget=LOOSE, options=replace(OPTIONS, sparsity=0.8))
    many = ep.make_plan(model, "rpi4", budget=LOOSE, options=replace(OPTIONS, sparsity=0.9))
    dense = few.baseline.latency_ms.value
    assert many.planned.latency_ms.value < few.planned.latency_ms.value < dense
