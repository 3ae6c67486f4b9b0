"""`edgeprune boards` where nothing is set up, and a bench on a board that is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgeprune.boards.host import Qemu
from edgeprune.cli.main import main
from tests.tflite.model_files import dense_network

pytestmark = pytest.mark.unit


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    try:
        main(list(arguments))
    except SystemExit as done:
        code = int(done.code or 0)
    else:
        code = 0
    return (code, *capsys.readouterr())


def test_the_list_of_boards(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "boards", "list")
    assert code == 0
    assert "rpi4         not set up (Raspberry Pi 4B; ai-edge-litert==2.3.0)\n" in out
    assert len(out.splitlines()) == 7
    _, out, _ = run(capsys, "boards", "list", "--json")
    boards = {board["name"]: board for board in json.loads(out)}
    assert boards["rpi3"] == {
        "name": "rpi3",
        "title": "Raspberry Pi 3B+",
        "default_runtime": "tflite-runtime==2.14.0",
        "runtimes": [],
        "disk_bytes": 0,
        "path": "",
    }


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["boards", "setup", "rpi44"], 2, 'unknown board "rpi44"; did you mean "rpi4"?'),
        (["boards", "setup", "host"], 2, '"host" can\'t be emulated; allowed: pixel4'),
        (["boards", "setup", "rpi4", "--runtime", "tflite"], 2, "a runtime is PACKAGE==VERSION"),
    ],
)
def test_mistakes(capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, said: str) -> None:
    found, _, err = run(capsys, *arguments)
    assert found == code
    assert said in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("device", "code", "said"),
    [
        ("emulator:rpi4", 4, "not set up with ai-edge-litert 2.3.0; run: edgeprune boards setup rpi4\n"),
        (
            "emulator:rpi4@tflite-runtime==2.14.0",
            4,
            "run: edgeprune boards setup rpi4 --runtime tflite-runtime==2.14.0\n",
        ),
        ("emulator:rpi44", 2, 'did you mean "rpi4"?'),
        ("emulator:", 2, 'unknown board ""'),
        ("emulator:rpi4@", 2, "a runtime is PACKAGE==VERSION"),
    ],
)
def test_a_bench_on_a_board_that_is_not_set_up(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    device: str,
    code: int,
    said: str,
) -> None:
    monkeypatch.setattr("edgeprune.boards.board.find_qemu", lambda: Qemu("qemu-aarch64", "7.2.0"))
    path = tmp_path / "small.tflite"
    path.write_bytes(dense_network().pack())
    found, _, err = run(capsys, "bench", str(path), "--device", device)
    assert found == code
    assert said in err
    assert len(err.splitlines()) == 1


def test_an_emulated_board_counts_on_one_thread(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "small.tflite"
    path.write_bytes(dense_network().pack())
    code, _, err = run(capsys, "bench", str(path), "--device", "emulator:rpi4", "--threads", "4")
    assert (code, err) == (2, "edgeprune: emulator:rpi4 counts on one thread, received --threads 4; leave it out\n")
