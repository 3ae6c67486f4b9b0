"""Board files with mistakes: each is named in one line, and no text whatever crashes the reader."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeprune.errors import InputError
from edgeprune.target import Emulator, Target, parse_target

pytestmark = pytest.mark.unit

BOARD = Path(__file__).with_name("boards").joinpath("my-board.toml").read_text(encoding="utf-8")


def message(text: str) -> str:
    with pytest.raises(InputError) as caught:
        parse_target(text, "board.toml")
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def changed(old: str, new: str) -> str:
    assert old in BOARD
    return BOARD.replace(old, new, 1)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "channel_multiple",
            "chanel_multiple",
            'line 6: unknown key "chanel_multiple"; did you mean "channel_multiple"?',
        ),
        ("ghz = 2.4", "gzh = 2.4", 'line 13: unknown key "cores[0].gzh"; did you mean "ghz"?'),
        ("[cost.int8]", "[cost.int4]", 'line 35: unknown quantization mode "cost.int4"; did you mean "int8"?'),
        ("latency_ms", "latency", 'line 26: unknown limit "budget.latency"; did you mean "latency_ms"?'),
        ("ram_mb = 1024\n", "", 'board.toml: key "ram_mb" is missing; it must be a whole number of at least 1'),
        ("count = 4\n", "", 'line 16: key "cores[1].count" is missing'),
        ('version = "2.3.0"\n', "", 'line 21: key "runtime.version" is missing'),
        (", op_us = 3.5 }\nfloat16", "}\nfloat16", 'key "cost.none.op_us" is missing'),
        ("ram_mb = 1024", 'ram_mb = "1 GB"', 'line 4: ram_mb must be a whole number of at least 1, received "1 GB"'),
        ("ram_mb = 1024", "ram_mb = true", "line 4: ram_mb must be a whole number of at least 1, received true"),
        ("ram_mb = 1024", "ram_mb = 1024.0", "received 1024.0"),
        ("ram_mb = 1024", "ram_mb = 0", "received 0"),
        ("ram_mb = 1024", f"ram_mb = 0x1{'0' * 5000}", "received a whole number of 20001 bits"),
        ("ghz = 2.4", "ghz = nan", "line 13: cores[0].ghz must be a number above 0, received nan"),
        ("ghz = 1\n", "ghz = inf\n", "line 19: cores[1].ghz must be a number above 0, received inf"),
        ("ghz = 2.4", "ghz = -2.4", "received -2.4"),
        ("ghz = 2.4", "ghz = false", "received false"),
        ("conv_gmacs = 20.0", "conv_gmacs = 0", "line 36: cost.int8.conv_gmacs must be a number above 0, received 0"),
        (
            "conv_gmacs = 10,",
            "conv_gmacs = [10],",
            "line 32: cost.none.conv_gmacs must be a number above 0, received a list",
        ),
        ('"ssh"', '"shh"', 'line 8: transport must be one of local, ssh, adb, received "shh"'),
        ('"dotprod"', '"dotprd"', 'line 3: unknown isa feature "dotprd"; did you mean "dotprod"?'),
        ("threads = 2", "threads = 7", "line 7: threads must be at most the 6 cores of the board, received 7"),
        ('"my-board"', '"../my board"', "line 1: name must be letters, digits"),
        (
            '"My board"',
            '"a\\nb"',
            'line 2: title must be text, not blank and without control characters, received "a\\nb"',
        ),
        (
            '"0xd0b"',
            '"A76"',
            'line 14: cores[0].part must be the part number of the CPU, such as "0xd08", received "A76"',
        ),
        ('"2.3.0"', '"latest"', 'line 23: runtime.version must be a version such as "2.3.0", received "latest"'),
        ("latency_ms = 12", "latency_ms = 0", "line 26: budget.latency_ms must be a number above 0, received 0"),
        ("size_ratio = 0.4", "size_ratio = 1.5", "line 27: budget.size_ratio must be a ratio above 0 and at most 1"),
        (
            "max_accuracy_drop = 0",
            "max_accuracy_drop = -1",
            "line 28: budget.max_accuracy_drop must be a number of at least 0",
        ),
        ("threads = 2", "threads = 2\nthreads = 3", "board.toml is not valid TOML"),
        ("ram_mb = 1024", f"ram_mb = {'1' * 5000}", "board.toml is not valid TOML"),
    ],
)
def test_each_mistake_is_named(old: str, new: str, expected: str) -> None:
    said = message(changed(old, new))
    assert said.startswith("board.toml")
    assert expected in said


def emulated(emulator: str, cores: str = 'part = "0xd0b"') -> str:
    """The board with an [emulator] table, other facts in its first cluster and a part number in its second."""
    whole = BOARD.replace('kind = "other"\n', 'kind = "other"\npart = "0xd05"\n', 1)
    return whole.replace('part = "0xd0b"', cores, 1).replace("[cost]", f"[emulator]\n{emulator}\n[cost]", 1)


GOOD_EMULATOR = 'cpu = "max,sme=off"\nfeatures = ["fp", "asimd"]'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (emulated('features = ["fp"]'), 'key "emulator.cpu" is missing'),
        (emulated('cpu = "-plugin x"\nfeatures = ["fp"]'), "emulator.cpu must be a model of `qemu-aarch64 -cpu help`"),
        (emulated('cpu = "max"\nfeatures = []'), "emulator.features must be a list of the words"),
        (emulated('cpu = "max"\nfeatures = ["fp asimd"]'), "emulator.features must be a list of the words"),
        (emulated(GOOD_EMULATOR + "\ncores = 2"), 'unknown key "emulator.cores"; allowed: cpu, features'),
        (emulated(GOOD_EMULATOR, 'implementer = "Arm"'), "cores[0].implementer must be the implementer number"),
        (emulated(GOOD_EMULATOR, 'variant = "0x1234"'), "cores[0].variant must be the variant number"),
        (emulated(GOOD_EMULATOR, 'part = "0xd0b"\nrevision = -1'), "revision must be a whole number of at least 0"),
        (emulated(GOOD_EMULATOR, ""), "an emulated board needs the part number of each core, Cortex-A76 has none"),
    ],
)
def test_mistakes_in_the_facts_for_an_emulator(text: str, said: str) -> None:
    assert said in message(text)


def test_the_facts_for_an_emulator() -> None:
    facts = 'part = "0x804"\nimplementer = "0x51"\nvariant = "0xd"\nrevision = 14'
    target = parse_target(emulated(GOOD_EMULATOR, facts), "board.toml")
    assert target.emulator == Emulator("max,sme=off", ("fp", "asimd"))
    first, second = target.cores
    assert (first.part, first.implementer, first.variant, first.revision) == ("0x804", "0x51", "0xd", 14)
    assert (second.part, second.implementer, second.variant, second.revision) == ("0xd05", "0x41", "0x0", 0)


def test_tables_that_are_not_tables() -> None:
    head = BOARD[: BOARD.index("[[cores]]")]
    tail = BOARD[BOARD.index("[runtime]") :]
    assert 'key "cores" is missing' in message(head + tail)
    for cores in ("[]", "3", "[1, 2]", '{ kind = "A" }'):
        assert "line 9: cores must be one [[cores]] table per cluster" in message(
            head.rstrip() + f"\ncores = {cores}\n" + tail
        )
    assert "cost must be a [cost] table" in message("cost = 1\n" + BOARD[: BOARD.index("[cost]")])


def test_deep_nesting_is_an_error_not_a_crash() -> None:
    assert "nested too deeply" in message(f"name = {'[' * 100_000}")


def loads_or_input_error(text: str) -> None:
    try:
        outcome: object = parse_target(text, "board.toml")
    except InputError as error:
        outcome = error
    assert isinstance(outcome, Target) or len(str(outcome).splitlines()) == 1


@settings(deadline=None)
@given(st.text())
def test_garbage_loads_or_is_an_input_error(text: str) -> None:
    loads_or_input_error(text)


PIECES = st.sampled_from(
    [
        "",
        "\n",
        "[",
        "]",
        "{",
        '"',
        "=",
        "x",
        "0",
        "-",
        "nan",
        "inf",
        "1e999",
        "9" * 30,
        "true",
        "[[cores]]",
        "[cost]",
        "\0",
        "\u2028",
    ]
) | st.text(max_size=3)


@settings(deadline=None)
@given(st.integers(0, len(BOARD)), st.integers(0, 12), PIECES)
def test_a_mutated_file_loads_or_is_an_input_error(start: int, length: int, piece: str) -> None:
    loads_or_input_error(BOARD[:start] + piece + BOARD[start + length :])


VALUES = st.sampled_from(
    [
        "1",
        "0",
        "-1",
        "1.5",
        "nan",
        "inf",
        "-inf",
        "true",
        '""',
        '"x"',
        '"\\u0000"',
        "[]",
        "[1]",
        '["neon"]',
        "{}",
        "1979-05-27",
        "07:32:00",
    ]
)


@settings(deadline=None)
@given(st.sampled_from([line for line in BOARD.splitlines() if " = " in line]), VALUES)
def test_any_value_under_any_key_loads_or_is_an_input_error(line: str, value: str) -> None:
    loads_or_input_error(BOARD.replace(line, line.partition(" = ")[0] + " = " + value))
