"""The emulator's transport with a board that is this host's own Python: restarts, errors, and what is refused.

Nothing is emulated and no plugin counts; scripts stand in for count_runner.py and write the counts themselves.
"""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import pytest

from edgeprune.device import instructions
from edgeprune.device.emulator import EmulatorTransport
from edgeprune.device.transport import RunRequest
from edgeprune.errors import DeviceError, InputError
from edgeprune.records.instructions import InstructionCounts
from edgeprune.target import Runtime, load_target
from tests.tflite.model_files import dense_network

pytestmark = pytest.mark.unit


class HostBoard:
    """Has what the transport asks of a board."""

    target = load_target("rpi4")
    runtime = Runtime("ai-edge-litert", "2.3.0")

    def __init__(self, site: Path) -> None:
        self.site = site

    def python(self, arguments: list[str], *, counting: bool = False) -> list[str]:
        return [sys.executable, *arguments]


# Counts 100 + index for each model, one region to load and one to invoke, unless `misbehave` does something else.
STAND_IN = """
import json, os, signal, struct, sys, time
request = json.load(open(sys.argv[1]))
def say(text): print("@edgeprune " + text, file=sys.stderr, flush=True)
def report(**line): open(request["results"], "a").write(json.dumps(line) + "\\n")
def region(count): open(os.environ["EDGEPRUNE_COUNTS"], "ab").write(struct.pack("<5Q", 1, 0, 1, 0x1000, count))
def misbehave(index, name):
    {body}
say(f"load {{request['skip']}}")
{before}
report(runtime="x", runtime_version="1", library_base=0, python=[])
done = 0
for index in range(request["skip"], len(request["models"])):
    say(f"load {{index}}")
    if misbehave(index, os.path.basename(request["models"][index])):
        continue
    region(10)
    region(100 + index)
    report(model=index, ok=True, load_ms=5.0, peak_rss_kb=64, load_region=done, count_region=done + 1)
    done += 2
"""


def emulator(tmp_path: Path, body: str = "pass", before: str = "", stall_secs: float = 30.0) -> EmulatorTransport:
    script = tmp_path / "stand_in.py"
    script.write_text(STAND_IN.format(body=textwrap.indent(textwrap.dedent(body), "    ").strip(), before=before))
    board: object = HostBoard(tmp_path / "site")
    return EmulatorTransport(board, stall_secs, count_runner=script)  # type: ignore[arg-type]


@pytest.fixture
def three(tmp_path: Path) -> tuple[Path, ...]:
    """Three models."""
    paths = tuple(tmp_path / f"{name}.tflite" for name in "abc")
    for path in paths:
        path.write_bytes(dense_network().pack())
    return paths


def test_many_models_in_one_start(tmp_path: Path, three: tuple[Path, ...]) -> None:
    steps: list[str] = []
    result = emulator(tmp_path).run(RunRequest("count", three), steps.append)
    assert steps == ["load 0", "load 0", "load 1", "load 2"]
    assert result.runtime == "ai-edge-litert 2.3.0"
    assert [counts.instructions for counts in result.counts if isinstance(counts, InstructionCounts)] == [100, 101, 102]
    first = result.counts[0]
    assert isinstance(first, InstructionCounts)
    assert (first.load_instructions, first.peak_rss_kb, first.emulated_load_secs) == (10, 64, 0.005)
    # The folder of the stand-in board has no library that names functions.
    assert (first.by_op, first.by_kernel) == ({}, {})


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            "if name == 'b.tflite': os.kill(os.getpid(), signal.SIGSEGV)",
            "crashed on b.tflite with SIGSEGV during loading",
        ),
        ("if name == 'b.tflite': sys.exit(3)", "stopped on b.tflite with exit code 3 during loading"),
        (
            "if name == 'b.tflite': say('count 1'); print('bad kernel', file=sys.stderr); os.abort()",
            'crashed on b.tflite with SIGABRT during counting; its last words: "bad kernel"',
        ),
        (
            "if name == 'b.tflite': report(model=index, ok=False, stage='load', message='no op'); return True",
            'can\'t load b.tflite: "no op"',
        ),
    ],
)
def test_one_bad_model_costs_only_itself(tmp_path: Path, three: tuple[Path, ...], body: str, said: str) -> None:
    first, bad, last = emulator(tmp_path, body).run(RunRequest("count", three)).counts
    assert isinstance(first, InstructionCounts)
    assert isinstance(last, InstructionCounts)
    assert (first.instructions, last.instructions) == (100, 102)
    assert isinstance(bad, DeviceError)
    assert said in str(bad)
    assert "the emulated rpi4" in str(bad)
    assert "\n" not in str(bad)


def test_a_hang_is_ended_and_named(tmp_path: Path, three: tuple[Path, ...]) -> None:
    body = "if name == 'b.tflite': say('first 1'); time.sleep(600)"
    first, bad, last = emulator(tmp_path, body, stall_secs=1.0).run(RunRequest("count", three)).counts
    assert isinstance(first, InstructionCounts)
    assert isinstance(last, InstructionCounts)
    assert "b.tflite hangs: no progress for 1 s during the first invoke on the emulated rpi4" in str(bad)


def test_an_end_between_two_models_blames_neither(tmp_path: Path, three: tuple[Path, ...]) -> None:
    # The first start ends after one model, before it says that it loads the second.
    body = """
    if index == 0:
        region(10)
        region(100)
        report(model=0, ok=True, load_ms=1, peak_rss_kb=None, load_region=0, count_region=1)
        os.abort()
    """
    counts = emulator(tmp_path, body).run(RunRequest("count", three)).counts
    assert [found.instructions for found in counts if isinstance(found, InstructionCounts)] == [100, 101, 102]


def test_a_board_that_does_not_start_is_one_error(tmp_path: Path, three: tuple[Path, ...]) -> None:
    with pytest.raises(DeviceError, match="stopped on a.tflite with exit code 9.*boards setup rpi4 --fresh"):
        emulator(tmp_path, before="sys.exit(9)").run(RunRequest("count", three))
    before = "report(model=0, ok=False, stage='runtime', message='No module'); sys.exit(1)"
    with pytest.raises(DeviceError, match="no TFLite runtime on the emulated rpi4: No module"):
        emulator(tmp_path, before=before).run(RunRequest("count", three))


def test_what_an_emulated_board_refuses(tmp_path: Path, three: tuple[Path, ...]) -> None:
    with pytest.raises(InputError, match="has no times to measure"):
        emulator(tmp_path).run(RunRequest("bench", three))
    with pytest.raises(InputError, match="counts on one thread, received 4"):
        emulator(tmp_path).run(RunRequest("count", three, threads=4))
    with pytest.raises(InputError, match='"local" can\'t count instructions'):
        instructions.count_instructions(three, device="local")


def test_a_bench_compares_counts(tmp_path: Path, three: tuple[Path, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instructions, "open_device", lambda spec: emulator(tmp_path))
    found = instructions.bench_instructions(three[1], baseline=three[0], device="emulator:rpi4")
    # The baseline runs first: 100 instructions, the model 101.
    assert found.baseline is not None
    assert (found.baseline.instructions, found.model.instructions, found.ratio) == (100, 101, 1.01)
    assert found.unit == "guest instructions per invoke, emulated; not a time"
    assert found.warnings == ("this runtime's library names no functions: there are no counts per operation",)
    body = "if index == 1: sys.exit(3)"
    monkeypatch.setattr(instructions, "open_device", lambda spec: emulator(tmp_path, body))
    with pytest.raises(DeviceError, match=r"stopped on b.tflite"):
        instructions.bench_instructions(three[1], baseline=three[0], device="emulator:rpi4")
