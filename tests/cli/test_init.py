"""`edgeprune init`: what it writes loads, and nothing is ever overwritten."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeprune.cli.init import project_text
from edgeprune.cli.main import main
from edgeprune.config import ProjectConfig, load_config, parse_config
from edgeprune.errors import InputError
from edgeprune.pipeline.options import Options
from edgeprune.target import Budget

pytestmark = pytest.mark.unit

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys: Capture, *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout, stderr."""
    code = 0
    try:
        main(["init", *arguments])
    except SystemExit as done:
        code = int(done.code or 0)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_the_written_file_loads(folder: Path, capsys: Capture) -> None:
    code, out, err = run(capsys)
    assert (code, err) == (0, "")
    assert out == "wrote edgeprune.toml; edit it, then run: edgeprune build\n"
    assert load_config("edgeprune.toml") == ProjectConfig(
        source=folder / "edgeprune.toml",
        folder=folder,
        model=folder / "model.keras",
        data=str(folder / "data.npz"),
        target=("rpi4",),
    )


def test_every_key_stands_in_the_file_and_loads_when_uncommented(folder: Path, capsys: Capture) -> None:
    run(capsys)
    text = re.sub(r"^# (?=[a-z_]+ = )", "", Path("edgeprune.toml").read_text(), flags=re.MULTILINE)
    config = parse_config(text, folder / "edgeprune.toml")
    assert None not in vars(config).values()
    assert None not in vars(config.budget).values()
    assert None not in vars(config.training).values()
    # Keys with a default show it.
    plain = ProjectConfig(source=config.source, folder=folder)
    assert config.validation_fraction == plain.validation_fraction
    for key in ("rounds", "epochs", "batch_size", "strategy", "quantize", "criterion", "allocation", "seed"):
        assert getattr(config, key) == getattr(Options, key), key
    for key in ("distillation_weight", "distillation_temperature"):
        assert getattr(config.training, key) == getattr(Options, key), key


def test_options_are_written(folder: Path, capsys: Capture) -> None:
    code, _, _ = run(capsys, "--model", "net.keras", "--data", "mod:load", "--target", "rpi5", "--target", "host")
    config = load_config("edgeprune.toml")
    assert code == 0
    assert (config.model, config.data, config.target) == (folder / "net.keras", "mod:load", ("rpi5", "host"))
    assert config.budget == Budget()


def test_paths_are_rewritten_for_a_file_in_another_folder(folder: Path, capsys: Capture) -> None:
    (folder / "project").mkdir()
    shutil.copy(Path(__file__).parents[2] / "targets" / "rpi3.toml", folder / "mine.toml")
    code, out, _ = run(
        capsys, "-o", "project/p.toml", "--model", "net.keras", "--data", "/abs/d.npz", "--target", "mine.toml"
    )
    config = load_config("project/p.toml")
    assert (code, out) == (0, "wrote project/p.toml; edit it, then run: edgeprune build project/p.toml\n")
    assert config.model is not None
    assert config.model.resolve() == folder / "net.keras"
    assert config.data == "/abs/d.npz"
    assert Path(config.target[0]).resolve() == folder / "mine.toml"


def test_never_overwrites(folder: Path, capsys: Capture) -> None:
    Path("edgeprune.toml").write_text("mine")
    code, out, err = run(capsys)
    assert (code, out) == (2, "")
    assert err == "edgeprune: edgeprune.toml exists and is not overwritten; delete it, or name another file with -o\n"
    assert Path("edgeprune.toml").read_text() == "mine"


def test_never_writes_through_a_dangling_link(folder: Path, capsys: Capture) -> None:
    Path("edgeprune.toml").symlink_to("elsewhere.toml")
    assert run(capsys)[0] == 2
    assert not Path("elsewhere.toml").exists()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("-o", "missing/p.toml"), "missing is not a folder"),
        (("--target", "rpi44"), 'did you mean "rpi4"?'),
        (("--target", "no.toml"), "does not exist"),
        (("--model", ""), "model must be"),
        (("--data", " "), "data must be"),
        (("--model", "a\nb"), "model must be"),
    ],
)
def test_a_mistake_writes_nothing(arguments: tuple[str, ...], problem: str, folder: Path, capsys: Capture) -> None:
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert problem in err
    assert list(folder.iterdir()) == []


@settings(deadline=None)
@given(st.text(), st.text())
def test_any_option_text_comes_back_or_is_refused(model: str, data: str) -> None:
    output = Path("edgeprune.toml")
    try:
        config = parse_config(project_text(model, data, ("rpi4",), output), output)
    except InputError:
        return
    assert config.model == config.folder / model
    assert config.data in (data, str(config.folder / data))
