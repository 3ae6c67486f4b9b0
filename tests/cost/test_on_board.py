"""Predicted peak RAM and instructions against an emulated Raspberry Pi 4, on networks that nothing was fitted to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgeprune.boards.setup import setup_board
from edgeprune.cost.file_latency import predict_file
from edgeprune.cost.memory import predict_ram
from edgeprune.cost.one_op import LayerShape, one_op_model
from edgeprune.device.instructions import count_instructions
from edgeprune.records.instructions import InstructionCounts
from edgeprune.target import load_target
from edgeprune.tflite.flatbuffer import read_model
from tests.tflite.random_nets import random_net

pytestmark = pytest.mark.emulator

# neither in tools/kernel_counts.json
POSITIONS, INPUTS = 11, 80
CHANNELS = (8, 11, 16, 18, 23, 24, 30, 31, 32, 39, 40, 45, 56, 72, 80)


@pytest.fixture(scope="module")
def board(board_cache: str) -> str:
    """The cache folder in which rpi4 is set up."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", board_cache)
        setup_board("rpi4", None)
    return board_cache


@pytest.fixture(autouse=True)
def use_board(board: str, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", board)


def count(paths: list[Path]) -> list[InstructionCounts]:
    found = count_instructions(paths, device="emulator:rpi4")
    assert all(isinstance(counts, InstructionCounts) for counts in found)
    return list(found)  # type: ignore[arg-type]


@pytest.mark.parametrize("precision", ["none", "int8"])
def test_the_staircase_of_channel_counts(precision: str, tmp_path: Path) -> None:
    """A 1x1 convolution over channel counts: the median error is below 3 %, no step is missed."""
    paths = [tmp_path / f"{channels}.tflite" for channels in CHANNELS]
    for path, channels in zip(paths, CHANNELS, strict=True):
        layer = LayerShape("CONV_2D", POSITIONS, POSITIONS, INPUTS, channels)
        path.write_bytes(one_op_model(layer, precision))  # type: ignore[arg-type]
    emulated = np.array([counts.by_op["CONV_2D"] for counts in count(paths)])
    target = load_target("rpi4")
    predicted = np.array([predict_file(read_model(path), target).instructions for path in paths], dtype=np.float64)
    errors = np.abs(predicted / emulated - 1)
    assert np.median(errors) < 0.03
    assert errors.max() < 0.1
    # where the board needs clearly more or fewer instructions for more channels, so says the prediction
    steps = np.abs(np.diff(emulated)) > 0.1 * emulated[:-1]
    assert (np.sign(np.diff(predicted)) == np.sign(np.diff(emulated)))[steps].all()


def test_peak_memory_of_a_large_layer(tmp_path: Path) -> None:
    """16 MB of weights and 2 MB of activations, in a process of its own: within 15 %."""
    path = tmp_path / "dense.tflite"
    path.write_bytes(one_op_model(LayerShape("CONV_2D", 16, 16, 2048, 2048), "none"))
    (counts,) = count([path])
    assert counts.peak_rss_kb is not None
    predicted = predict_ram(read_model(path), load_target("rpi4"))
    assert predicted.total / 1024 == pytest.approx(counts.peak_rss_kb, rel=0.15)


def test_small_networks_of_every_kind(tmp_path: Path) -> None:
    """Random networks of small maps, where starting an operation is most of it: the median error is below 15 %."""
    paths = [tmp_path / f"{seed}.tflite" for seed in range(12)]
    for seed, path in enumerate(paths):
        path.write_bytes(random_net(seed, False))
    found = count_instructions(paths, device="emulator:rpi4")
    target = load_target("rpi4")
    ratios = [
        (predict_file(read_model(path), target).instructions or 0.0) / counts.instructions
        for path, counts in zip(paths, found, strict=True)
        if isinstance(counts, InstructionCounts)
    ]
    assert len(ratios) >= 8
    assert np.median(np.abs(np.array(ratios) - 1)) < 0.15
