"""`edgeprune targets`: results on stdout, mistakes in one line on stderr, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from edgeprune.cli.main import main
from edgeprune.target import Target, list_targets, load_target

pytestmark = pytest.mark.unit

Capture = pytest.CaptureFixture[str]


def run(capsys: Capture, *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout, stderr."""
    code = 0
    try:
        main(["targets", *arguments])
    except SystemExit as done:
        code = int(done.code or 0)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def as_json(target: Target) -> object:
    return json.loads(json.dumps(asdict(target)))


def test_list_names_every_board_on_one_line_each(capsys: Capture) -> None:
    code, out, err = run(capsys, "list")
    assert (code, err) == (0, "")
    rows = {line.split()[0]: line for line in out.splitlines()[2:]}
    assert tuple(rows) == list_targets()
    assert "Raspberry Pi 4B" in rows["rpi4"]
    assert "4x A72 @1.5" in rows["rpi4"]
    assert "1024" in rows["rpi4"]
    assert "ai-edge-litert 2.3.0" in rows["rpi4"]


def test_list_as_json(capsys: Capture) -> None:
    code, out, _ = run(capsys, "list", "--json")
    assert code == 0
    assert json.loads(out) == [as_json(load_target(name)) for name in list_targets()]


def test_show(capsys: Capture) -> None:
    code, out, err = run(capsys, "show", "rpi5")
    assert (code, err) == (0, "")
    for fact in ("Raspberry Pi 5", "4x Cortex-A76 2.4 GHz", "dotprod", "2048 MB", "latency_ratio 0.15", "EfficientDet"):
        assert fact in out
    int8 = load_target("rpi5").cost["int8"]
    row = next(line.split() for line in out.splitlines() if line.startswith("int8"))
    assert [float(cell) for cell in row[1:]] == list(asdict(int8).values())


def test_show_as_json(capsys: Capture) -> None:
    assert json.loads(run(capsys, "show", "pixel4", "--json")[1]) == as_json(load_target("pixel4"))


def test_show_of_an_unknown_name(capsys: Capture) -> None:
    code, out, err = run(capsys, "show", "rpi44")
    assert (code, out) == (2, "")
    assert err.startswith('edgeprune: unknown target "rpi44"; did you mean "rpi4"?')
    assert err.count("\n") == 1


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's own board in the current folder."""
    monkeypatch.chdir(tmp_path)
    rpi4 = Path(__file__).parents[2] / "targets" / "rpi4.toml"
    text = rpi4.read_text(encoding="utf-8").replace('name = "rpi4"', 'name = "mine"')
    Path("mine.toml").write_text(text, encoding="utf-8")
    return Path("mine.toml")


def test_validate_and_show_a_users_own_board(board: Path, capsys: Capture) -> None:
    code, out, err = run(capsys, "validate", str(board))
    assert (code, err) == (0, "")
    assert out == "mine.toml is valid: target mine (Raspberry Pi 4B); use it with --target mine.toml\n"
    assert run(capsys, "show", "mine.toml")[1].startswith("mine\n")


def test_validate_names_a_file_so_that_target_finds_it(board: Path, capsys: Capture) -> None:
    board.rename("mine")
    advised = run(capsys, "validate", "mine")[1].split("--target ")[1].strip()
    assert load_target(advised).name == "mine"


def test_validate_as_json(board: Path, capsys: Capture) -> None:
    document = json.loads(run(capsys, "validate", str(board), "--json")[1])
    assert document == {"file": "mine.toml", "valid": True, "target": as_json(load_target("mine.toml"))}


def test_validate_names_the_line_of_a_mistake(board: Path, capsys: Capture) -> None:
    lines = board.read_text().splitlines()
    at = lines.index("threads = 4")
    lines[at] = "thread = 4"
    board.write_text("\n".join(lines))
    code, out, err = run(capsys, "validate", str(board))
    assert (code, out) == (2, "")
    assert err == f'edgeprune: mine.toml, line {at + 1}: unknown key "thread"; did you mean "threads"?\n'
    code, out, _ = run(capsys, "validate", str(board), "--json")
    assert (code, json.loads(out)["exit_code"]) == (2, 2)


def test_validate_of_a_missing_file(tmp_path: Path, capsys: Capture) -> None:
    code, _, err = run(capsys, "validate", str(tmp_path / "no.toml"))
    assert code == 2
    assert "does not exist" in err


def test_an_unknown_subcommand_is_a_usage_error(capsys: Capture) -> None:
    code, _, err = run(capsys, "lst")
    assert code == 2
    assert "lst" in err


def test_list_works_from_any_folder(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "edgeprune", "targets", "list"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "rpi-zero-2w" in done.stdout
