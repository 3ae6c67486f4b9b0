"""Each example's train.py, run as a user runs it, with settings that take seconds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from test_fashion_mnist_data import write_set

from edgeprune.config import load_config

pytestmark = pytest.mark.keras

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
TIMEOUT_SECS = 300


def train(example: str, output: Path, *arguments: str) -> str:
    command = [sys.executable, "train.py", "--epochs", "1", "--batch-size", "16", "-o", str(output), *arguments]
    done = subprocess.run(command, cwd=EXAMPLES / example, capture_output=True, text=True, timeout=TIMEOUT_SECS)
    assert done.returncode == 0, done.stderr
    return done.stdout


def assert_trained(path: Path, input_shape: tuple[int, ...]) -> None:
    """The saved model is whole, compiled as edgeprune needs it, and its optimizer can go on."""
    model = keras.models.load_model(path)
    assert model.input_shape == (None, *input_shape)
    assert model.output_shape == (None, 10)
    assert model.loss == "sparse_categorical_crossentropy"
    assert float(model.optimizer.learning_rate) == pytest.approx(1e-3)
    probabilities = model.predict(np.zeros((1, *input_shape), np.float32), verbose=0)
    assert probabilities.sum() == pytest.approx(1, abs=1e-5)


def test_digits(tmp_path: Path) -> None:
    printed = train("digits", tmp_path, "--limit", "64")
    assert "validation accuracy" in printed
    assert_trained(tmp_path / "model.keras", (32, 32, 3))
    arrays = np.load(tmp_path / "data.npz", allow_pickle=False)
    assert arrays["x_train"].shape == (64, 32, 32, 3)
    assert arrays["x_val"].shape == (360, 32, 32, 3)  # a fifth of 1,797
    assert arrays["x_val"].dtype == np.float32
    assert 0 <= arrays["x_val"].min() < arrays["x_val"].max() <= 1
    assert np.bincount(arrays["y_val"]).tolist() == pytest.approx([36] * 10, abs=2)  # stratified
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.npz", "model.keras"]


def test_fashion_mnist(tmp_path: Path) -> None:
    images, output = tmp_path / "images", tmp_path / "work"
    images.mkdir()
    write_set(images, train=64, test=16)
    printed = train("fashion_mnist", output, "--data", str(images), "--limit", "48")
    assert "validation accuracy" in printed
    assert_trained(output / "model.keras", (28, 28, 1))
    assert [path.name for path in output.iterdir()] == ["model.keras"]


@pytest.mark.parametrize("example", ["digits", "fashion_mnist"])
def test_the_project_file_names_what_train_writes(example: str) -> None:
    project = load_config(EXAMPLES / example / "edgeprune.toml")
    folder = EXAMPLES / example
    assert project.model == folder / "work" / "model.keras"
    assert project.data == {"digits": str(folder / "work" / "data.npz"), "fashion_mnist": "data:load"}[example]
    assert project.target == ("rpi4",)


def test_sparse_training(tmp_path: Path) -> None:
    printed = train("sparse_training", tmp_path, "--sparsity", "0.75")
    zeros = int(printed.split("zeros after one more epoch: ")[1].split()[0].replace(",", ""))
    # 3x3x1x32, 3x3x32x32 and (6 x 6 x 32) x 64 weights at 75 %, 64 x 10 at 50 %
    assert zeros == (288 + 9216 + 73728) * 3 // 4 + 320
    assert "validation accuracy" in printed
    model = keras.models.load_model(tmp_path / "model.keras")
    assert sum(int(np.count_nonzero(v == 0)) for v in model.get_weights() if v.ndim > 1) == zeros
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.keras", "sparsity.csv"]
