"""The prediction, and the table that the unit tests use, against an emulated Raspberry Pi 4, measured anew."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from edgeprune.boards.board import find_board
from edgeprune.boards.setup import setup_board
from edgeprune.device.instructions import count_instructions
from edgeprune.records.instructions import InstructionCounts
from edgeprune.target import Runtime
from edgeprune.tflite.flatbuffer import parse_model
from edgeprune.tflite.sparse_inference.predict import predict
from tests.tflite.measured_verdicts import MEASURED, RUNTIMES
from tests.tflite.random_nets import random_net
from tests.tflite.sparse_corpus import CASES

pytestmark = pytest.mark.emulator

MEASURED_AGAIN = (Runtime("ai-edge-litert", "2.3.0"), Runtime("ai-edge-litert", "2.1.6"))
RANDOM_NETS = range(40)
LETTERS = {"sparse": "S", "partly": "S", "dense": "d", "none": "d", "broken": "WF"}
# Sparse kernels add in another order: relative to the largest output.
TOLERANCE = 1e-4
RUNNER = Path(__file__).with_name("outputs_on_board.py")


@pytest.fixture(scope="module")
def boards(board_cache: str) -> str:
    """The cache folder in which rpi4 is set up with both runtimes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", board_cache)
        for runtime in MEASURED_AGAIN:
            setup_board("rpi4", runtime)
    return board_cache


@pytest.fixture(autouse=True)
def use_boards(boards: str, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test sees that cache instead of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", boards)


def written(folder: Path, networks: dict[str, bytes]) -> list[Path]:
    paths = [folder / f"{name}.tflite" for name in networks]
    for path, content in zip(paths, networks.values(), strict=True):
        path.write_bytes(content)
    return paths


def outputs(paths: list[Path], runtime: Runtime) -> list[list[np.ndarray] | None]:
    """The outputs of each model on the board; None where it does not load or crashes."""
    waiting = list(paths)
    board = find_board("rpi4", runtime)
    while waiting:
        command = board.python([str(RUNNER), runtime.package, *map(str, waiting)])
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        begun = [line for line in done.stdout.splitlines() if line.endswith(".tflite")]
        assert begun, done.stderr
        waiting = waiting[len(begun) :]
    results = []
    for path in paths:
        saved = Path(f"{path}.npz")
        results.append(list(np.load(saved).values()) if saved.exists() else None)
    return results


def alike(found: list[np.ndarray], wanted: list[np.ndarray]) -> bool:
    return all(
        one.shape == other.shape and np.abs(one - other).max() <= TOLERANCE * max(np.abs(other).max(), 1e-9)
        for one, other in zip(found, wanted, strict=True)
    )


def measure(folder: Path, networks: dict[str, tuple[bytes, bytes]], runtime: Runtime) -> dict[str, str]:
    """S, d, W or F for each network, given in its sparse and its dense encoding."""
    (folder / "sparse").mkdir()
    (folder / "dense").mkdir()
    sparse = written(folder / "sparse", {name: pair[0] for name, pair in networks.items()})
    dense = written(folder / "dense", {name: pair[1] for name, pair in networks.items()})
    device = f"emulator:rpi4@{runtime.package}=={runtime.version}"
    counts = count_instructions(sparse, device=device)
    pairs = zip(networks, counts, outputs(sparse, runtime), outputs(dense, runtime), strict=True)
    letters = {}
    for name, count, found, wanted in pairs:
        if not isinstance(count, InstructionCounts) or found is None or wanted is None:
            letters[name] = "F"
        elif not alike(found, wanted):
            letters[name] = "W"
        else:
            letters[name] = "S" if any("_spmm_" in kernel for kernel in count.by_kernel) else "d"
    return letters


@pytest.mark.parametrize("runtime", MEASURED_AGAIN, ids=lambda runtime: runtime.version)
def test_the_board_does_what_the_table_says(tmp_path, runtime):
    """test_sparse_inference.py holds the prediction to the table."""
    column = RUNTIMES.index((runtime.package, runtime.version))
    networks = {name: (build(True), build(False)) for name, build in CASES.items()}
    measured = measure(tmp_path, networks, runtime)
    # Garbage in memory decides whether reading float16 as float32 gives wrong numbers or a crash.
    wrong = {
        name: (MEASURED[name][column], letter)
        for name, letter in measured.items()
        if letter != MEASURED[name][column] and not {letter, MEASURED[name][column]} <= {"W", "F"}
    }
    assert wrong == {}


@pytest.mark.parametrize("runtime", MEASURED_AGAIN, ids=lambda runtime: runtime.version)
def test_random_networks(tmp_path, runtime):
    networks = {f"net{seed}": (random_net(seed, True), random_net(seed, False)) for seed in RANDOM_NETS}
    measured = measure(tmp_path, networks, runtime)
    wrong = {}
    for name, (content, _) in networks.items():
        verdict = predict(parse_model(content, name), runtime.package, runtime.version, ("neon",)).verdict
        if measured[name] not in LETTERS[verdict]:
            wrong[name] = (verdict, measured[name])
    assert wrong == {}
    # All three outcomes must occur, or the networks test little.
    assert {"S", "d"} < set(measured.values())
