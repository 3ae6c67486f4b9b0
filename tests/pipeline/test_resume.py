"""`kill -9`, Ctrl-C and a second build: whatever stops a build, the same command ends with the same model."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shlex
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from edgeprune.cli.main import main
from edgeprune.tflite.flatbuffer import read_model

pytestmark = pytest.mark.keras

KILLS = 4
# What appears in the output folder, in this order.
LANDMARKS = (
    "stages/build.json",
    "stages/baseline.partial",
    "stages/precision.partial",
    "stages/round-1.partial",
    "stages/round-1.partial/cut.keras",
    "stages/round-1.partial/training.npz",
    "stages/round-2.partial",
    "stages/round-2.partial/cut.keras",
    "stages/round-2.partial/training.npz",
    "stages/export-2.partial",
    "stages/bench.partial",
    "stages/bench",
    "model.tflite",
    "report.json",
)
# A build of this size takes seconds; more means that it hangs.
TIMEOUT_SECS = 120
# The command line with a benchmark of milliseconds.
RUNNER = """
import edgeprune.device.bench
edgeprune.device.bench.QUICK_ROUND_SECS = 0.01
from edgeprune.cli.main import main
main()
"""
# Dropout, BatchNorm and shuffling: all that is random in a build has to come out the same.
ARGUMENTS = "build model.keras --data data.npz --target rpi4 --size-kb 8 --max-accuracy-drop 1 --epochs 3 --rounds 2 -o"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small untrained classifier and separable data."""
    import keras

    keras.utils.set_random_seed(5)
    folder = tmp_path_factory.mktemp("project")
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(16, 3, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Conv2D(32, 3, strides=2, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dropout(0.2),
            layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.save(folder / "model.keras")
    y = np.arange(200) % 3
    x = np.random.default_rng(0).normal(0, 0.5, (200, 8, 8, 3)).astype(np.float32)
    x[np.arange(200), :, :, y] += 1
    np.savez(folder / "data.npz", x=x, y=y)
    return folder


@contextlib.contextmanager
def running(project: Path, output: str) -> Iterator[subprocess.Popen[str]]:
    """A build in a process of its own; whatever a failed test leaves running is ended. Each output has a cache of its
    own: what one build measured must not repair another."""
    command = [sys.executable, "-c", RUNNER, *ARGUMENTS.split(), output]
    environment = {**os.environ, "XDG_CACHE_HOME": str(project / f"cache-{output}")}
    with subprocess.Popen(
        command, cwd=project, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + TIMEOUT_SECS
    while not condition() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def finish(process: subprocess.Popen[str], check: Callable[[], None] = lambda: None) -> str:
    """Wait for the end, checking meanwhile; stderr."""
    deadline = time.monotonic() + TIMEOUT_SECS
    while process.poll() is None:
        assert time.monotonic() < deadline
        check()
        time.sleep(0.02)
    assert process.stderr is not None
    return process.stderr.read()


def check_whole(folder: Path) -> None:
    """Every file that has its final name is complete."""
    for root, _, names in os.walk(folder):  # passes over a stage's folder that is renamed meanwhile
        for path in (Path(root) / name for name in names if not name.startswith(".")):
            with contextlib.suppress(FileNotFoundError):
                if path.suffix == ".json":
                    json.loads(path.read_text(encoding="utf-8"))
                elif path.suffix == ".tflite":
                    read_model(path)
                elif path.suffix in (".keras", ".npz"):
                    with zipfile.ZipFile(path) as archive:
                        assert archive.testzip() is None


def models(folder: Path) -> tuple[str, str]:
    """Digests of the TFLite file and of the Keras model's weights."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return manifest["sha256"]["model.tflite"], manifest["model_digest"]


@pytest.fixture(scope="module")
def undisturbed(project: Path) -> tuple[str, str]:
    """The models of a build nothing happened to."""
    with running(project, "undisturbed") as process:
        errors = finish(process, lambda: check_whole(project / "undisturbed"))
    assert process.returncode == 0, errors
    return models(project / "undisturbed")


def test_killed_again_and_again_the_same_model_comes_out(project, undisturbed):
    """Each kill comes a random moment after one of the landmarks, so that the kills spread over the build however fast
    the machine is."""
    out = project / "killed"
    chance = random.Random(2)
    kills = 0
    for number in sorted(chance.sample(range(len(LANDMARKS)), KILLS)):
        with running(project, "killed") as process:
            wait_for(lambda n=number: any((out / name).exists() for name in LANDMARKS[n:]), process)
            time.sleep(chance.random() * 0.3)
            process.kill()
            process.wait()
        kills += process.returncode == -signal.SIGKILL
        check_whole(out)
    assert kills >= KILLS - 1  # the last moment may come too late
    with running(project, "killed") as process:
        errors = finish(process, lambda: check_whole(out))
    assert process.returncode == 0, errors
    assert models(out) == undisturbed
    assert not list(out.rglob("*.partial"))


def test_ctrl_c_says_how_to_continue_and_that_works(project, undisturbed, capsys, monkeypatch):
    with running(project, "stopped") as process:
        wait_for((project / "stopped" / "stages" / "round-1.partial").exists, process)
        process.send_signal(signal.SIGINT)
        errors = finish(process)
    assert process.returncode == 130
    assert "Traceback" not in errors
    last = errors.splitlines()[-1]
    assert last.startswith("edgeprune: interrupted; ")
    program, *arguments = shlex.split(last.partition("Continue with: ")[2])
    assert program == "edgeprune"
    check_whole(project / "stopped")
    assert not (project / "stopped" / "model.tflite").exists()
    monkeypatch.chdir(project)
    monkeypatch.setattr("edgeprune.device.bench.QUICK_ROUND_SECS", 0.01)
    main(arguments)
    assert models(project / "stopped") == undisturbed


def test_a_second_build_in_the_same_folder_is_refused(project, undisturbed, capsys, monkeypatch):
    """The first one is held where it is, so that the second can't come too late; it then ends as if alone."""
    out = project / "shared"
    monkeypatch.chdir(project)
    with running(project, "shared") as process:
        wait_for((out / "stages" / "baseline").exists, process)
        process.send_signal(signal.SIGSTOP)
        with pytest.raises(SystemExit) as end:
            main([*ARGUMENTS.split(), "shared"])
        assert end.value.code == 2
        assert "another edgeprune build is running in shared" in capsys.readouterr().err.splitlines()[-1]
        process.send_signal(signal.SIGCONT)
        errors = finish(process)
    assert process.returncode == 0, errors
    assert models(out) == undisturbed


def test_a_finished_build_does_nothing_again(project, undisturbed, capsys, monkeypatch):
    out = project / "undisturbed"
    monkeypatch.chdir(project)
    report = (out / "report.json").read_bytes()
    stages = {path: os.stat(path).st_mtime_ns for path in (out / "stages").rglob("*")}
    main([*ARGUMENTS.split(), "undisturbed"])
    assert models(out) == undisturbed
    assert (out / "report.json").read_bytes() == report
    assert {path: os.stat(path).st_mtime_ns for path in (out / "stages").rglob("*")} == stages
