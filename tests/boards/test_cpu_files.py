"""What a board's Linux shows of its CPU: one block per core, clusters, clocks, and where the emulator is pinned."""

from __future__ import annotations

import dataclasses

import pytest

from edgeprune.boards.board import emulated_names
from edgeprune.boards.cpu_files import cpu_files, pinned_cpu
from edgeprune.errors import InputError
from edgeprune.target import load_target

pytestmark = pytest.mark.unit

CPU = "sys/devices/system/cpu"

FIRST_CORE_OF_A_PI_4 = """\
processor\t: 0
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3

"""


def test_a_pi_4() -> None:
    files = cpu_files(load_target("rpi4"))
    assert files["proc/cpuinfo"].startswith(FIRST_CORE_OF_A_PI_4)
    assert files["proc/cpuinfo"].count("processor\t:") == 4
    assert [files[f"{CPU}/{name}"] for name in ("possible", "present", "online", "kernel_max")] == [
        *["0-3\n"] * 3,
        "3\n",
    ]
    assert files[f"{CPU}/cpu3/cpufreq/cpuinfo_max_freq"] == "1500000\n"
    assert files[f"{CPU}/cpu3/topology/core_siblings_list"] == "0-3\n"


def test_a_phone_has_its_clusters_big_ones_first() -> None:
    files = cpu_files(load_target("pixel4"))
    parts = [line.split()[-1] for line in files["proc/cpuinfo"].splitlines() if "CPU part" in line]
    assert parts == ["0x804"] * 4 + ["0x805"] * 4
    siblings = [files[f"{CPU}/cpu{number}/topology/core_siblings_list"].strip() for number in range(8)]
    assert siblings == ["0", "1-3", "1-3", "1-3", "4-7", "4-7", "4-7", "4-7"]
    clocks = [int(files[f"{CPU}/cpu{number}/cpufreq/cpuinfo_max_freq"]) for number in range(8)]
    assert clocks == [2840000, *[2420000] * 3, *[1800000] * 4]
    packages = [files[f"{CPU}/cpu{number}/topology/physical_package_id"].strip() for number in range(8)]
    assert packages == ["0", "1", "1", "1", "2", "2", "2", "2"]


@pytest.mark.parametrize("name", emulated_names())
def test_every_board_lists_all_its_cores(name: str) -> None:
    target = load_target(name)
    assert target.emulator is not None
    count = sum(core.count for core in target.cores)
    files = cpu_files(target)
    assert files["proc/cpuinfo"].count("processor\t:") == count
    assert len([path for path in files if path.endswith("core_id")]) == count
    # What the target claims the CPU can do is what Linux calls it.
    called = {"neon": "asimd", "fp16": "asimdhp", "dotprod": "asimddp", "i8mm": "i8mm", "sve2": "sve2"}
    assert {called[feature] for feature in target.isa} <= set(target.emulator.features)
    assert [core.ghz for core in target.cores] == sorted((core.ghz for core in target.cores), reverse=True)


def test_the_boards() -> None:
    assert emulated_names() == ("pixel4", "pixel6", "pixel8", "rpi-zero-2w", "rpi3", "rpi4", "rpi5")


def test_a_board_without_facts_is_refused() -> None:
    with pytest.raises(InputError, match="no \\[emulator\\] table"):
        cpu_files(dataclasses.replace(load_target("rpi4"), emulator=None))


@pytest.mark.parametrize(
    ("name", "allowed", "expected"),
    [
        ("rpi4", {0, 1}, None),  # all cores are equal
        ("pixel4", {0, 1}, 0),
        ("pixel4", {6, 7}, None),  # only little ones
        ("pixel4", {5, 9}, 9),  # a number the phone has not counts as its first core
        ("pixel6", {2, 3}, None),  # the A76, not the X1
        ("pixel6", {1, 3}, 1),
    ],
)
def test_the_emulator_runs_on_a_big_core(name: str, allowed: set[int], expected: int | None) -> None:
    assert pinned_cpu(load_target(name), allowed) == expected
