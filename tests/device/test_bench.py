"""bench(): from files to the record."""

import os

import numpy as np
import pytest

from edgeprune.device.bench import bench, check_is_tflite
from edgeprune.errors import InputError
from tests.tflite.model_files import ModelFile, dense_network

pytestmark = pytest.mark.unit

SHORT = {"round_secs": 0.03, "warmup_secs": 0.02}


def network(tmp_path, name, units):
    """x (1, units) -> Dense(units): its time grows with the square of `units`."""
    file = ModelFile()
    source, result = file.tensor((1, units)), file.tensor((1, units))
    kernel = file.tensor((units, units), data=np.ones((units, units), np.float32))
    file.op("FULLY_CONNECTED", [source, kernel, -1], [result])
    file.inputs, file.outputs = [source], [result]
    path = tmp_path / name
    path.write_bytes(file.pack())
    return path


def test_a_model_alone(tmp_path):
    path = network(tmp_path, "m.tflite", 64)
    result = bench(path, rounds=2, **SHORT)
    assert (result.device, result.threads, result.rounds) == ("local", 1, 2)
    assert (result.baseline, result.speedup) == (None, None)
    assert result.model.model == str(path)
    assert result.model.median_ms == np.median(result.model.samples_ms)


def test_a_model_with_a_sixteenth_of_the_work_is_measurably_faster(tmp_path):
    small, large = network(tmp_path, "small.tflite", 256), network(tmp_path, "large.tflite", 1024)
    result = bench(small, baseline=large, **SHORT)
    assert result.baseline.model == str(large)
    assert result.speedup.value == result.baseline.median_ms / result.model.median_ms
    assert result.speedup.low > 2
    assert result.speedup.low <= result.speedup.value <= result.speedup.high


def test_few_rounds_are_named_in_the_record(tmp_path):
    path = network(tmp_path, "m.tflite", 16)
    assert any("2 round(s)" in warning for warning in bench(path, baseline=path, rounds=2, **SHORT).warnings)


def test_more_threads_than_cores_are_named_in_the_record(tmp_path):
    threads = (os.cpu_count() or 1) + 1
    result = bench(network(tmp_path, "m.tflite", 16), threads=threads, rounds=1, **SHORT)
    assert any(f"{threads} threads" in warning for warning in result.warnings)


@pytest.mark.parametrize(
    "numbers",
    [{"threads": 0}, {"rounds": 0}, {"round_secs": 0}, {"round_secs": float("nan")}, {"warmup_secs": -1}],
)
def test_numbers_out_of_range_are_refused(tmp_path, numbers):
    with pytest.raises(InputError, match="received"):
        bench(network(tmp_path, "m.tflite", 16), **numbers)


def test_other_files_are_refused(tmp_path):
    (tmp_path / "m.keras").write_bytes(b"PK")
    with pytest.raises(InputError, match="edgeprune build"):
        check_is_tflite(tmp_path / "m.keras")
    (tmp_path / "m.tflite").write_bytes(b"PK\x03\x04....")
    with pytest.raises(InputError, match="not a TFLite model"):
        check_is_tflite(tmp_path / "m.tflite")
    with pytest.raises(InputError, match="does not exist"):
        check_is_tflite(tmp_path / "none.tflite")
    with pytest.raises(InputError, match="is not a file"):
        check_is_tflite(tmp_path)
    whole = tmp_path / "whole.tflite"
    whole.write_bytes(dense_network().pack())
    check_is_tflite(whole)
