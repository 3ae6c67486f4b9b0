"""Board files: what ships, what loads, and the one-line error for each mistake."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from edgeprune.cost_rates import QUANTIZE_MODES, Energy
from edgeprune.errors import InputError
from edgeprune.target import Budget, list_targets, load_target, parse_target

pytestmark = pytest.mark.unit

BOARD = Path(__file__).with_name("boards").joinpath("my-board.toml").read_text(encoding="utf-8")


def test_reads_every_field() -> None:
    target = parse_target(BOARD, "board.toml")
    assert (target.name, target.title, target.isa) == ("my-board", "My board", ("neon", "dotprod"))
    assert (target.ram_mb, target.copy_mb_s, target.channel_multiple, target.threads) == (1024, 2000, 8, 2)
    assert [(core.kind, core.count, core.ghz, core.part) for core in target.cores] == [
        ("Cortex-A76", 2, 2.4, "0xd0b"),
        ("other", 4, 1.0, ""),
    ]
    assert (target.runtime.package, target.runtime.version) == ("ai-edge-litert", "2.3.0")
    assert target.budget == Budget(latency_ms=12.0, size_ratio=0.4, max_accuracy_drop=0.0)
    assert tuple(target.cost) == QUANTIZE_MODES
    assert (target.cost["none"].op_us, target.cost["int8"].conv_gmacs) == (3.5, 20.0)
    assert target.cost_source == "a guess"


def test_a_board_without_a_budget_has_no_limits() -> None:
    before, _, after = BOARD.partition("[budget]")
    text = before + after[after.index("[cost]") :]
    assert parse_target(text, "board.toml").budget == Budget()


SHIPPED = ("android-arm64", "host", "pixel4", "pixel6", "pixel8", "rpi-zero-2w", "rpi3", "rpi4", "rpi5")


def test_the_boards_that_ship() -> None:
    assert list_targets() == SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_boards_are_consistent(name: str) -> None:
    target = load_target(name)
    assert target.name == name
    assert target.channel_multiple == 8
    float32, float16, int8 = (target.cost[mode] for mode in ("none", "float16", "int8"))
    assert float16 == float32, "float16 weights are expanded at load"
    assert int8.conv_gmacs > float32.conv_gmacs
    for rates in target.cost.values():
        assert rates.depthwise_gmacs < rates.conv_gmacs
        assert 0 < rates.error < 0.5
    assert target.transport == ("local" if name == "host" else "ssh" if name.startswith("rpi") else "adb")
    assert (target.budget.size_ratio, target.budget.max_accuracy_drop) == (0.4, 0.01)


def test_threads_share_what_is_not_serial() -> None:
    """A fifth is serial: on 1, 2 and 4 threads 1, 0.6 and 0.4 of the time."""
    rates = dataclasses.replace(load_target("rpi4").cost["none"], serial=0.2)
    assert rates.time_ratio(1, 2) == pytest.approx(0.6)
    assert rates.time_ratio(4, 1) == pytest.approx(2.5)


A53_OR_AVX = ("rpi3", "rpi-zero-2w", "host")


@pytest.mark.parametrize("name", SHIPPED)
def test_sparse_kernels_promise_a_gain_only_where_one_was_published(name: str) -> None:
    for mode, rates in load_target(name).cost.items():
        if name in A53_OR_AVX or mode in ("dynamic", "int8"):
            assert rates.sparse_gmacs is None
        else:
            assert rates.sparse_gmacs == pytest.approx(0.3 * rates.conv_gmacs)


def test_dotprod_boards_gain_more_from_int8() -> None:
    def gain(name: str) -> float:
        cost = load_target(name).cost
        return cost["int8"].conv_gmacs / cost["none"].conv_gmacs

    assert gain("rpi5") > gain("rpi4")


@pytest.mark.parametrize("how", ["board.toml", "./board", "{folder}/board", "{folder}/board.toml"])
def test_a_users_own_file_works_like_a_name(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "board.toml").write_text(BOARD, encoding="utf-8-sig")  # an editor's byte order mark is no mistake
    (tmp_path / "board").write_text(BOARD, encoding="utf-8")
    assert load_target(how.format(folder=tmp_path)).name == "my-board"


def test_a_name_is_never_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rpi4").write_text(BOARD)
    assert load_target("rpi4").title == "Raspberry Pi 4B"


@pytest.mark.parametrize("name", ["rpi44", "RPI4", "rpi-4"])
def test_unknown_name_names_the_nearest(name: str) -> None:
    with pytest.raises(InputError, match=f'unknown target "{name}"; did you mean "rpi4"?'):
        load_target(name)


def test_unknown_name_far_from_all_lists_them() -> None:
    with pytest.raises(InputError, match="allowed: android-arm64, host, pixel4"):
        load_target("jetson")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes('title = "é"'.encode("latin-1"))
    (tmp_path / "folder.toml").mkdir()
    for name, problem in [
        ("missing.toml", "does not exist"),
        ("latin.toml", "not UTF-8"),
        ("folder.toml", "is a folder"),
        ("latin.toml/x.toml", "does not exist"),
        ("nul\0.toml", "can't be read"),
        ("x" * 5000 + ".toml", "can't be read"),
    ]:
        with pytest.raises(InputError, match=problem):
            load_target(str(tmp_path / name))


def test_energy_is_optional_and_names_its_source() -> None:
    assert parse_target(BOARD, "board.toml").energy is None
    text = '[energy]\npj_per_mac = 30\npj_per_int8_mac = 20\npj_per_byte = 160\nsource = "a guess"\n'
    assert parse_target(BOARD + text, "board.toml").energy == Energy(30.0, 20.0, 160.0, "a guess")
    with pytest.raises(InputError, match="energy.pj_per_byte must be a number above 0, received -1"):
        parse_target(BOARD + text.replace("= 160", "= -1"), "board.toml")
    assert all((load_target(name).energy is None) == (name == "host") for name in SHIPPED)


@pytest.mark.parametrize(
    ("line", "problem"),
    [("serial = 1.0", "cost.int8.serial must be a share below 1"), ("conv_rows = 2.5", "conv_rows must be a whole")],
)
def test_kernel_coefficients_out_of_range(line: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        parse_target(BOARD + line + "\n", "board.toml")
