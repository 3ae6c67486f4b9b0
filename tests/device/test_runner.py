"""The runner as a script of its own: requests, results, and what it refuses."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from edgeprune.device import runner
from edgeprune.device.local import RUNNER
from tests.tflite.model_files import ModelFile, dense_network, pool

pytestmark = pytest.mark.unit


def run(tmp_path, request):
    """(exit code, result) of one request, in this process."""
    path, result = tmp_path / "request.json", tmp_path / "result.json"
    path.write_text(json.dumps({"result": str(result), **request}))
    return runner.main([str(path)]), json.loads(result.read_text())


def model(tmp_path, name="m.tflite", file=None):
    path = tmp_path / name
    path.write_bytes((file or dense_network()).pack())
    return str(path)


BENCH = {"mode": "bench", "threads": 1, "rounds": 3, "round_secs": 0.02, "warmup_secs": 0.01, "seed": 5}


def test_a_copy_of_the_script_runs_models_in_turns(tmp_path):
    """As a device runs it: copied away from edgeprune, request on stdin."""
    script = tmp_path / "copied.py"
    script.write_bytes(RUNNER.read_bytes())
    models = [model(tmp_path, "a.tflite"), model(tmp_path, "b.tflite")]
    request = {**BENCH, "models": models, "result": str(tmp_path / "result.json")}
    done = subprocess.run(
        [sys.executable, str(script)],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    steps = [line.removeprefix("@edgeprune ") for line in done.stderr.splitlines() if line.startswith("@edgeprune ")]
    assert steps == [
        *("memory 0", "memory 1", "load 0", "load 1", "warmup 0", "warmup 1"),
        *("round 0 0", "round 1 0", "round 0 1", "round 1 1", "round 0 2", "round 1 2"),
    ]
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["ok"]
    assert result["runtime"] == "ai-edge-litert"
    assert result["machine"]["cores"] >= 1
    for entry in result["models"]:
        assert len(entry["rounds_ms"]) == 3
        assert all(samples and min(samples) > 0 for samples in entry["rounds_ms"])
    assert not list(tmp_path.glob("*.part"))


def test_outputs_of_several_samples(tmp_path):
    """y = x @ ones(8, 4) + 0: each output is the sum of the sample."""
    inputs = np.arange(24, dtype=np.float32).reshape(3, 8)
    np.savez(tmp_path / "in.npz", input_0=inputs)
    request = {
        "mode": "outputs",
        "models": [model(tmp_path)],
        "inputs": str(tmp_path / "in.npz"),
        "outputs": str(tmp_path / "out.npz"),
    }
    code, result = run(tmp_path, request)
    assert code == 0
    assert result["models"][0]["samples"] == 3
    with np.load(tmp_path / "out.npz", allow_pickle=False) as stored:
        assert stored.files == ["output_0"]
        np.testing.assert_allclose(stored["output_0"], np.repeat(inputs.sum(axis=1, keepdims=True), 4, axis=1))


def test_batches_and_several_inputs_go_in_the_models_order(tmp_path):
    file = ModelFile()
    first, second = file.tensor((2, 3), name="b"), file.tensor((2, 3), name="a")
    result = file.tensor((2, 3))
    file.op("SUB", [first, second], [result])
    file.inputs, file.outputs = [first, second], [result]
    big, small = np.arange(12, dtype=np.float32).reshape(4, 3), np.ones((4, 3), np.float32)
    np.savez(tmp_path / "in.npz", input_0=big, input_1=small)
    request = {
        "mode": "outputs",
        "models": [model(tmp_path, file=file)],
        "inputs": str(tmp_path / "in.npz"),
        "outputs": str(tmp_path / "out.npz"),
    }
    assert run(tmp_path, request)[0] == 0
    np.testing.assert_array_equal(np.load(tmp_path / "out.npz")["output_0"], big - 1)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"input_0": np.zeros((2, 9), np.float32)}, r"input_0 is float32 (2, 9); the model takes float32 (1, 8)"),
        ({"input_0": np.zeros((2, 8))}, "input_0 is float64"),
        ({"input_0": np.zeros((0, 8), np.float32)}, "one or more"),
        ({"x": np.zeros((2, 8), np.float32)}, "input_0"),
        ({"input_0": np.array([{}], dtype=object)}, "allow_pickle=False"),
    ],
)
def test_inputs_that_do_not_fit_are_named(tmp_path, arrays, message):
    np.savez(tmp_path / "in.npz", **arrays)
    request = {**BENCH, "models": [model(tmp_path)], "inputs": str(tmp_path / "in.npz")}
    code, result = run(tmp_path, request)
    assert (code, result["ok"], result["stage"], result["model"]) == (1, False, "inputs", 0)
    assert message in result["message"]


@pytest.mark.parametrize("dtype", ["float32", "int8", "int32", "bool"])
def test_random_inputs_exist_for_each_dtype(tmp_path, dtype):
    file = ModelFile()
    source, shape = file.tensor((1, 4), dtype), file.tensor((2,), "int32", np.array([2, 2], np.int32))
    result = file.tensor((2, 2), dtype)
    file.op("RESHAPE", [source, shape], [result])
    file.inputs, file.outputs = [source], [result]
    assert run(tmp_path, {**BENCH, "models": [model(tmp_path, file=file)]})[0] == 0


def test_the_model_that_does_not_load_is_named(tmp_path):
    bad = ModelFile()
    x, y = bad.tensor((1, 4)), bad.tensor((1, 4))
    bad.op("CUSTOM", [x], [y], custom="NoSuchThing")
    bad.inputs, bad.outputs = [x], [y]
    code, result = run(tmp_path, {**BENCH, "models": [model(tmp_path), model(tmp_path, "bad.tflite", bad)]})
    assert (code, result["stage"], result["model"]) == (1, "load", 1)
    assert "NoSuchThing" in result["message"]


@pytest.mark.parametrize("change", [{"mode": "dance"}, {"models": []}])
def test_requests_that_make_no_sense(tmp_path, change):
    code, result = run(tmp_path, {**BENCH, "models": [model(tmp_path)], **change})
    assert (code, result["stage"]) == (1, "request")


def test_no_request_at_all(tmp_path, capsys):
    assert runner.main([str(tmp_path / "none.json")]) == 2
    assert "no usable request" in capsys.readouterr().err


def test_long_rounds_keep_each_nth_sample(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "MAX_SAMPLES_PER_ROUND", 10)
    file = ModelFile()
    x, y = file.tensor((1, 64, 64, 8)), file.tensor((1, 64, 64, 8))
    pool(file, x, y)
    file.inputs, file.outputs = [x], [y]
    _, result = run(tmp_path, {**BENCH, "round_secs": 0.1, "models": [model(tmp_path, file=file)]})
    (entry,) = result["models"]
    assert entry["kept_every"] > 1
    # Chosen from the fastest invoke of the warm-up, rounded: at most 1.5 times the limit, and fewer when slower.
    assert all(1 <= len(samples) <= 20 for samples in entry["rounds_ms"])


def test_each_round_is_printed_as_soon_as_it_is_done(tmp_path, capsys):
    models = [model(tmp_path, "a.tflite"), model(tmp_path, "b.tflite")]
    _, result = run(tmp_path, {**BENCH, "models": models, "stream": True})
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["round"] for line in lines] == [0, 1, 2]
    for number, line in enumerate(lines):
        assert line["rounds_ms"] == [entry["rounds_ms"][number] for entry in result["models"]]


def test_rounds_that_are_done_are_left_out(tmp_path, capsys):
    _, result = run(tmp_path, {**BENCH, "models": [model(tmp_path)], "first_round": 2})
    assert len(result["models"][0]["rounds_ms"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "@edgeprune round 0 2" in captured.err
    assert "@edgeprune round 0 1" not in captured.err


def test_peak_memory_grows_with_the_model(tmp_path):
    """Weights of 16 MB more take at least as much; Python and the runtime are not in it."""
    large = ModelFile()
    units = 2048
    source, sink = large.tensor((1, units)), large.tensor((1, units))
    large.op(
        "FULLY_CONNECTED", [source, large.tensor((units, units), data=np.ones((units, units), np.float32)), -1], [sink]
    )
    large.inputs, large.outputs = [source], [sink]
    models = [model(tmp_path, "small.tflite"), model(tmp_path, "large.tflite", large)]
    _, result = run(tmp_path, {**BENCH, "models": models})
    small_kb, large_kb = (entry["peak_rss_kb"] for entry in result["models"])
    assert 0 < small_kb < 50_000
    assert 16_000 <= large_kb - small_kb < 64_000


def test_the_run_is_kept_on_the_fastest_cores(tmp_path):
    """In a process of its own: pinning lasts."""
    request = {**BENCH, "models": [model(tmp_path)], "result": str(tmp_path / "result.json")}
    subprocess.run([sys.executable, str(RUNNER)], input=json.dumps(request), text=True, check=True, timeout=60)
    machine = json.loads((tmp_path / "result.json").read_text())["machine"]
    cores = sorted(os.sched_getaffinity(0))
    assert machine["pinned"] == runner.fastest_cores(runner.core_speeds(cores), 1)
    assert set(machine["pinned"]) <= set(cores)
