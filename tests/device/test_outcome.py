"""What is said about a runner that ended without a result, and what is advised."""

from __future__ import annotations

import pytest

from edgeprune.device.outcome import RunnerHost
from edgeprune.device.watched import Ended

pytestmark = pytest.mark.unit


class Host(RunnerHost):
    where = "the board"
    mend = "install it there"


def death(*log: str, code: int = 1) -> str:
    return str(Host().death("small.tflite", Ended("round 0 1", code, list(log))))


@pytest.mark.parametrize(
    "words",
    [
        "OSError: [Errno 28] No space left on device: '/home/pi/result.json.part'",
        "OSError: [Errno 122] Disk quota exceeded",
        "OSError: [Errno 27] File too large",
    ],
)
def test_a_full_disk_asks_for_room_and_not_for_another_runtime(words):
    line = death("Traceback (most recent call last):", words, "INFO: Created TensorFlow Lite XNNPACK delegate for CPU.")
    assert line.startswith("there is no room on the board for the result of small.tflite")
    assert words in line
    assert "free some space" in line
    assert "install" not in line


@pytest.mark.parametrize(
    "words",
    [
        "ModuleNotFoundError: No module named 'numpy'",
        "ImportError: libGL.so.1: cannot open shared object file",
        "RuntimeError: module compiled against ABI version 0x1000009 but this version of numpy is 0x2000000",
    ],
)
def test_a_runtime_that_can_not_be_loaded_is_to_be_installed(words):
    assert death(words).endswith("; install it there")


@pytest.mark.parametrize("log", [(), ("INFO: Created TensorFlow Lite XNNPACK delegate for CPU.",)])
def test_so_is_one_that_ends_without_a_word(log):
    line = death(*log)
    assert line.endswith("; install it there")
    assert "last words" not in line


@pytest.mark.parametrize("words", ["MemoryError", "KeyError: 'round_secs'", "OSError: [Errno 5] Input/output error"])
def test_other_ends_give_no_advice_to_install(words):
    assert death(words).endswith(f'; its last words: "{words}"; run the command again')
