"""Each warning on the state that calls for it, and none on a quiet machine."""

import pytest

from edgeprune.device.runner import machine_state
from edgeprune.device.stats import latency_stats
from edgeprune.device.trust import machine_warnings, sample_warnings

pytestmark = pytest.mark.unit

QUIET = {"cores": 4, "governors": ["performance"], "load_1min": 0.4}


def test_a_quiet_machine_gives_no_warning():
    assert machine_warnings(QUIET, threads=4) == ()
    assert machine_warnings({"cores": None, "governors": [], "load_1min": None}, threads=8) == ()


@pytest.mark.parametrize(
    ("change", "threads", "message"),
    [
        ({"governors": ["ondemand", "performance"]}, 1, "governor ondemand"),
        ({"load_1min": 4.2}, 1, "load average 4.2 on 4 cores"),
        ({}, 5, "5 threads were asked for, but only 4 cores"),
    ],
)
def test_each_reason_is_named(change, threads, message):
    (warning,) = machine_warnings({**QUIET, **change}, threads)
    assert message in warning


def test_drift_beyond_five_per_cent_is_named():
    steady = latency_stats("steady", [1.0] * 10 + [1.04] * 10)
    drifting = latency_stats("drifting", [1.0] * 10 + [1.2] * 10)
    (warning,) = sample_warnings((steady, drifting), rounds=5)
    assert warning.startswith("drifting: the median moved by +20%")


def test_few_rounds_are_named_only_where_an_interval_is_given():
    stats = latency_stats("m", [1.0])
    assert "4 round(s)" in sample_warnings((stats, stats), rounds=4)[0]
    assert sample_warnings((stats,), rounds=4) == ()


def test_the_state_is_read_from_linux_files(tmp_path):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/loadavg").write_text("1.25 0.5 0.1 2/300 4242\n")
    for cpu, governor in (("cpu0", "powersave"), ("cpu1", "performance"), ("cpu2", "powersave")):
        folder = tmp_path / "sys/devices/system/cpu" / cpu / "cpufreq"
        folder.mkdir(parents=True)
        (folder / "scaling_governor").write_text(governor + "\n")
    zone = tmp_path / "sys/class/thermal/thermal_zone0"
    zone.mkdir(parents=True)
    (zone / "temp").write_text("48312\n")
    state = machine_state(str(tmp_path))
    assert state["governors"] == ["performance", "powersave"]
    assert state["load_1min"] == 1.25
    assert state["temperature_c"] == 48.312
    assert state["cores"] >= 1


def test_missing_files_are_no_error(tmp_path):
    state = machine_state(str(tmp_path))
    assert (state["governors"], state["load_1min"], state["temperature_c"]) == ([], None, None)
