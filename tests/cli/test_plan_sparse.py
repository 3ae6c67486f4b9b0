"""`edgeprune plan --strategy sparse`: zeros per layer, on the command line and from the project file."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from edgeprune.cli.main import main

pytestmark = pytest.mark.keras


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    import keras

    monkeypatch.chdir(tmp_path)
    layers = keras.layers
    keras.Sequential(
        [
            keras.Input((8, 8, 4)),
            layers.Conv2D(32, 3, name="stem"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(100, name="head"),
        ]
    ).save("model.keras")
    (tmp_path / "edgeprune.toml").write_text(
        'model = "model.keras"\ntarget = "rpi4"\nstrategy = "sparse"\nsparsity = 0.75\n[budget]\nsize_ratio = 1.0\n'
    )
    return tmp_path


def plan(capsys, *arguments: str) -> dict:
    main(["plan", *arguments, "--json"])
    return json.loads(capsys.readouterr().out)


def test_the_project_says_how_sparse(project, capsys):
    document = plan(capsys)
    shares = [row["sparsity_after"] for row in document["layers"]]
    weights = [3 * 3 * 4 * 32, 32 * 100]
    zeros = sum(share * count for share, count in zip(shares, weights, strict=True))
    assert zeros == pytest.approx(0.75 * sum(weights))
    assert shares[0] != shares[1]
    assert document["planned"]["size_bytes"] < document["baseline"]["size_bytes"]
    assert document["schema"] == 1


def test_the_command_line_wins(project, capsys):
    assert plan(capsys, "--sparsity", "0.5")["planned"]["sparsity"] == 0.5
    assert plan(capsys, "--strategy", "1:4")["planned"]["sparsity"] == 0.75
    # a sparsity in the project belongs to its strategy, and is no mistake beside another one
    assert plan(capsys, "--strategy", "n:m")["planned"]["sparsity"] == 0.5
    assert plan(capsys, "--strategy", "structured")["planned"]["sparsity"] == 0.0


def test_the_table_has_zeros(project, capsys):
    main(["plan"])
    lines = capsys.readouterr().out.splitlines()
    stem = next(line for line in lines if line.startswith("stem"))
    assert re.search(r"0\.0 % -> [0-9]{2}\.[0-9] %$", stem.rstrip())
    assert any("no speed-up from them is claimed" in line for line in lines)
