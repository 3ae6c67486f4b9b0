"""An Android phone against the contract of all transports, and what is its own."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgeprune.device.adb.spec import AdbSpec
from edgeprune.device.adb.transport import connect
from edgeprune.device.transport import RunRequest
from edgeprune.errors import DeviceError, InputError
from tests.device.adb.conftest import PATIENCE, behave, calls
from tests.device.adb.daemon import command_script, write_cores
from tests.device.contract import TransportContract
from tests.tflite.model_files import ModelFile

pytestmark = pytest.mark.device

QUICK = {"rounds": 2, "round_secs": 0.02, "warmup_secs": 0.01}


class TestAdb(TransportContract):
    @pytest.fixture
    def transport(self, opened):
        return opened

    @pytest.fixture
    def remains(self, phone):
        return phone.remains


def graphs(phone) -> list[str]:
    """The models in the order in which they ran."""
    return [flags["graph"].rpartition("/")[2] for flags in calls(phone)]


def test_models_run_in_turns_on_the_big_cores(opened, phone, models):
    result = opened.run(RunRequest("bench", models, threads=4, rounds=3, round_secs=0.5, warmup_secs=0.25))
    assert graphs(phone) == ["model_0.tflite", "model_1.tflite"] * 3
    # The stand-in's average is 1000.25 us and one more with each process.
    assert result.rounds_ms == (((1.00025,), (1.00225,), (1.00425,)), ((1.00125,), (1.00325,), (1.00525,)))
    assert result.sample_kind == "process mean"
    assert result.peak_rss_kb == (round(65.6094 * 1024),) * 2
    flags = calls(phone)[0]
    assert {name: flags[name] for name in ("num_threads", "min_secs", "warmup_min_secs", "use_xnnpack")} == {
        "num_threads": "4",
        "min_secs": "0.5",
        "warmup_min_secs": "0.25",
        "use_xnnpack": "true",
    }
    # Four threads need cores 4 to 7: the one of 1024 and the three of 900.
    assert set((phone.root / "masks").read_text().split()) == {"f0"}
    assert "held on core 4, 5, 6, 7 by taskset" in result.notes
    assert any("scheduled differently from an app" in note for note in result.notes)
    assert any("3 processes" in warning for warning in result.warnings)


def test_one_kind_of_cores_needs_no_mask(new_phone, binary, models):
    phone = new_phone()
    write_cores(phone.root, [500, 500])
    connect(AdbSpec(binary=binary), PATIENCE).run(RunRequest("bench", models[:1], **QUICK))
    assert not (phone.root / "masks").exists()


def test_cores_that_are_refused_are_a_warning(phone, binary, models):
    command_script(phone.root, "taskset", "echo failed to set the mask >&2; exit 1")
    result = connect(AdbSpec(binary=binary), PATIENCE).run(RunRequest("bench", models[:1], **QUICK))
    assert any("no working taskset" in warning for warning in result.warnings)


@pytest.mark.parametrize(("kind", "name"), [("old", "TFLite tool"), ("LiteRT", "LiteRT tool")])
def test_the_other_programs(opened, phone, models, kind, name):
    behave(phone, kind=kind)
    result = opened.run(RunRequest("bench", models[:1], **QUICK))
    assert result.rounds_ms == (((1.00025,), (1.00125,)),)
    assert name in result.runtime
    assert ("use_xnnpack" in calls(phone)[0]) == (kind == "old")


def test_the_litert_tool_can_not_do_everything(phone, binary, models, tmp_path):
    behave(phone, kind="LiteRT")
    without = connect(AdbSpec(binary=binary, xnnpack=False), PATIENCE)
    with pytest.raises(InputError, match="can't switch XNNPACK off"):
        without.run(RunRequest("bench", models[:1], **QUICK))
    np.savez(tmp_path / "in.npz", input_0=np.ones((1, 8), np.float32))
    request = RunRequest("outputs", models[:1], inputs=tmp_path / "in.npz", outputs=tmp_path / "out.npz")
    with pytest.raises(DeviceError, match=r"LiteRT tool\) on .* can't be given inputs"):
        without.run(request)
    assert not (tmp_path / "out.npz").exists()
    assert calls(phone) == []
    assert phone.remains() == []


def test_the_gpu_and_xnnpack_are_passed_on(phone, binary, models):
    options = AdbSpec(binary=binary, gpu=True, xnnpack=False)
    result = connect(options, PATIENCE).run(RunRequest("bench", models[:1], **QUICK))
    assert (calls(phone)[0]["use_gpu"], calls(phone)[0]["use_xnnpack"]) == ("true", "false")
    assert "XNNPACK was switched off" in result.notes


def test_two_inputs_with_awkward_names_and_batches(opened, tmp_path):
    """y = a - b, two samples per invoke; a name may hold what separates names in the flags."""
    file = ModelFile()
    a = file.tensor((2, 3), name="serving_default_a:0")
    b = file.tensor((2, 3), name="b,c")
    y = file.tensor((2, 3), name="y")
    file.op("SUB", [a, b], [y])
    file.inputs, file.outputs = [a, b], [y]
    path = tmp_path / "minus.tflite"
    path.write_bytes(file.pack())
    left = np.arange(12, dtype=np.float32).reshape(4, 3)
    right = np.full((4, 3), 2, np.float32)
    np.savez(tmp_path / "in.npz", input_0=left, input_1=right)
    opened.run(RunRequest("outputs", (path,), inputs=tmp_path / "in.npz", outputs=tmp_path / "out.npz"))
    with np.load(tmp_path / "out.npz", allow_pickle=False) as stored:
        np.testing.assert_array_equal(stored["output_0"], left - right)


def test_heat_and_battery_are_recorded_and_judged(opened, phone, models):
    (phone.root / "dumpsys-thermalservice").write_text(
        "Thermal Status: 2\nCached temperatures:\n"
        "\tTemperature{mValue=61.5, mType=0, mName=CPU0, mStatus=0}\n"
        "\tTemperature{mValue=99.0, mType=1, mName=GPU0, mStatus=0}\n"
    )
    (phone.root / "dumpsys-battery").write_text("  AC powered: false\n  USB powered: false\n  level: 12\n")
    command_script(phone.root, "settings", "echo 1")
    result = opened.run(RunRequest("bench", models[:1], **QUICK))
    assert result.machine["thermal_status"] == 2
    assert result.machine["temperature_c"] == 61.5
    assert result.machine["battery_percent"] == 12
    assert result.machine["governors"] == ["performance"]
    words = " ".join(result.warnings)
    for part in ("thermal status 2 (moderate) before", "(moderate) after", "battery saver", "battery is at 12 %"):
        assert part in words


def test_clocks_that_are_held_down_are_a_warning(opened, phone, models):
    (phone.root / "sys/devices/system/cpu/cpu7/cpufreq/scaling_max_freq").write_text("800000\n")
    result = opened.run(RunRequest("bench", models[:1], **QUICK))
    assert any("clocks of 1 cores are held below" in warning for warning in result.warnings)


def test_fixed_performance_only_on_request_and_undone(new_phone, binary, models):
    phone = new_phone()
    request = RunRequest("bench", models[:1], **QUICK)
    connect(AdbSpec(binary=binary), PATIENCE).run(request)
    assert not (phone.root / "commands").exists()
    connect(AdbSpec(binary=binary, fixed_performance=True), PATIENCE).run(request)
    mode = "power set-fixed-performance-mode-enabled"
    assert (phone.root / "commands").read_text().splitlines() == [f"{mode} true", f"{mode} false"]


def test_fixed_performance_is_for_android_11(new_phone, binary, models):
    phone = new_phone(ro_build_version_sdk="29", ro_build_version_release="10")
    options = AdbSpec(binary=binary, fixed_performance=True)
    result = connect(options, PATIENCE).run(RunRequest("bench", models[:1], **QUICK))
    assert not (phone.root / "commands").exists()
    assert any("Android 10 has no fixed-performance mode" in warning for warning in result.warnings)


def test_folders_of_dead_runs_go_and_those_of_living_ones_stay(opened, phone, models, tmp_path):
    from edgeprune.device.adb.folder import _boot, _computer, _owner

    def folder(letter: str, owner: str):
        path = phone.temporary / f"edgeprune-{letter * 16}"
        path.mkdir()
        (path / "owner").write_text(owner + "\n")
        return path

    # A pid can't be larger than 2**22.
    dead = folder("a", f"{_computer()} {_boot()} 4194305 1")
    reused = folder("b", f"{_owner().rpartition(' ')[0]} 1")
    earlier_boot = folder("c", f"{_computer()} another-boot 1 1")
    living = folder("d", _owner())
    foreign = folder("e", "0123456789abcdef boot 1 1")
    not_ours = phone.temporary / "edgeprune-notes x"
    not_ours.mkdir()
    opened.run(RunRequest("bench", models[:1], **QUICK))
    assert [path.exists() for path in (dead, reused, earlier_boot)] == [False] * 3
    assert [path.exists() for path in (living, foreign, not_ours)] == [True] * 3


def test_bench_and_its_table_take_a_phone(phone, binary, models, monkeypatch, capsys):
    from edgeprune.cli.main import main

    monkeypatch.setenv("EDGEPRUNE_BENCHMARK_MODEL", str(binary))
    device = f"adb:{phone.serial}"
    main(["bench", str(models[1]), "--baseline", str(models[0]), "--device", device, "--quick", "--json"])
    printed = json.loads(capsys.readouterr().out)
    assert printed["device"] == f"{device} (Standin 4, Android 13)"
    # The mean of one process each; the stand-in's next process is always a microsecond slower.
    assert printed["baseline"]["samples_ms"] == [1.00025, 1.00225, 1.00425, 1.00625, 1.00825]
    assert printed["model"]["median_ms"] == 1.00525
    assert printed["sample_kind"] == "process mean"
    assert phone.remains() == []
