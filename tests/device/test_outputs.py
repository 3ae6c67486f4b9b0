"""Outputs for given inputs, here on this host; tests/device/test_emulator.py does it on an emulated board."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgeprune.device.outputs import device_outputs
from edgeprune.errors import InputError
from tests.tflite.model_files import dense_network

pytestmark = pytest.mark.unit


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Adds up its 8 inputs, four times."""
    path = tmp_path / "small.tflite"
    path.write_bytes(dense_network().pack())
    return path


def test_every_sample_is_computed(model: Path) -> None:
    inputs = np.arange(24, dtype=np.float32).reshape(3, 8)
    (found,) = device_outputs(model, [inputs])
    np.testing.assert_array_equal(found, np.repeat(inputs.sum(axis=1, keepdims=True), 4, axis=1))


@pytest.mark.parametrize("inputs", [[np.zeros((1, 7), np.float32)], [np.zeros((1, 8), np.int8)], []])
def test_inputs_that_do_not_fit_are_refused(model: Path, inputs: list[np.ndarray]) -> None:
    with pytest.raises(InputError, match="the inputs don't fit small.tflite"):
        device_outputs(model, inputs)


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.tflite").write_bytes(b"nothing")
    with pytest.raises(InputError, match="is not a TFLite model"):
        device_outputs(tmp_path / "x.tflite", [])
