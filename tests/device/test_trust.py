"""Each warning on the state that calls for it, and none on a quiet machine."""

import pytest

from edgeprune.device import runner
from edgeprune.device.runner import core_speeds, fastest_cores, machine_state
from edgeprune.device.stats import latency_stats
from edgeprune.device.trust import change_warnings, machine_warnings, sample_warnings

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
        ({"core_speeds": [446, 1024], "pinned": None}, 1, "refused to keep the run on the fastest ones"),
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


def state(**values):
    """A machine that is in order, but for `values`."""
    steady = {"governors": ["performance"], "max_clocks_mhz": {"cpu0": 1500.0}, "wall_secs": 1e9, "steady_secs": 50.0}
    return {"temperature_c": 50.0, "cooling": {}, "firmware": {"throttled": 0, "clock_mhz": 1500.3}, **steady, **values}


def firmware(**values):
    return {"firmware": {"throttled": 0, "clock_mhz": 1500.3, "temperature_c": None, **values}}


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        # https://www.raspberrypi.com/documentation/computers/os.html#get_throttled names the bits
        ({}, firmware(throttled=0x1), "during the run: under-voltage"),
        ({}, firmware(throttled=0x2), "during the run: CPU frequency capped"),
        (firmware(throttled=0x4), {}, "during the run: throttled"),
        ({}, firmware(throttled=0x8), "during the run: soft temperature limit"),
        ({}, firmware(throttled=0x10000), "during the run: under-voltage"),
        (firmware(throttled=0x40000), firmware(throttled=0x40000), "before the run: throttled"),
        ({}, {"cooling": {"thermal-cpufreq-0": 2}}, "slows the CPU to cool it: thermal-cpufreq-0"),
        ({}, {"temperature_c": 60.5}, "warmed up from 50 to 60 °C"),
        ({"temperature_c": 79.0}, {"temperature_c": 80.0}, "hot: 80 °C"),
        (firmware(temperature_c=45.0), firmware(temperature_c=58.0), "warmed up from 45 to 58"),
        ({}, firmware(clock_mhz=1400.0), "ran at 1400 MHz, not at its 1500 MHz"),
        ({}, {"wall_secs": 1e9 + 63, "steady_secs": 110.0}, "jumped by +3.0 s"),
        ({}, {"wall_secs": 1e9 - 3540, "steady_secs": 110.0}, "jumped by -3600.0 s"),
    ],
)
def test_what_happens_during_the_run_is_named(before, after, message):
    (warning,) = change_warnings(state(**before), state(**after))
    assert message in warning


def test_a_machine_that_stays_as_it_is_gives_no_warning():
    assert change_warnings(state(), state(wall_secs=1e9 + 60.5, steady_secs=110.0, temperature_c=60.0)) == ()
    assert change_warnings({}, {}) == ()
    # An "ondemand" governor lowers the clock as soon as the run ends; it is named by itself.
    assert change_warnings(state(), state(governors=["ondemand"], **firmware(clock_mhz=600.0))) == ()


def test_a_board_with_two_faults_names_both():
    assert len(change_warnings(state(), state(**firmware(throttled=0x50005)))) == 2


# A Pixel 4: one core of 2.84 GHz, three of 2.42, four of 1.8
PIXEL4 = {**dict.fromkeys(range(4), 1.8), **dict.fromkeys(range(4, 7), 2.42), 7: 2.84}


@pytest.mark.parametrize(
    ("speeds", "threads", "chosen"),
    [
        (PIXEL4, 1, [7]),
        (PIXEL4, 2, [4, 5, 6, 7]),
        (PIXEL4, 4, [4, 5, 6, 7]),
        (PIXEL4, 5, list(range(8))),
        (PIXEL4, 99, list(range(8))),
        (dict.fromkeys(range(4), 1500.0), 1, [0, 1, 2, 3]),
        ({0: 5.0, 1: 5.1, 2: 5.0}, 1, [0, 1, 2]),  # one favoured core among equals
    ],
)
def test_the_fastest_kind_of_core_is_chosen(speeds, threads, chosen):
    assert fastest_cores(speeds, threads) == chosen


def test_speeds_come_from_capacity_or_else_from_the_highest_clock(tmp_path):
    for core, clock in ((0, 1800000), (1, 2840000)):
        folder = tmp_path / f"sys/devices/system/cpu/cpu{core}/cpufreq"
        folder.mkdir(parents=True)
        (folder / "cpuinfo_max_freq").write_text(f"{clock}\n")
    assert core_speeds([0, 1], str(tmp_path)) == {0: 1.8e6, 1: 2.84e6}
    for core, capacity in ((0, 446), (1, 1024)):
        (tmp_path / f"sys/devices/system/cpu/cpu{core}/cpu_capacity").write_text(f"{capacity}\n")
    assert core_speeds([0, 1], str(tmp_path)) == {0: 446.0, 1: 1024.0}
    assert core_speeds([0, 1, 2], str(tmp_path)) == {0: 1.0, 1: 1.0, 2: 1.0}


def test_temperature_cooling_and_clocks_are_read_from_linux_files(tmp_path):
    thermal = tmp_path / "sys/class/thermal"
    for name, files in {
        "thermal_zone0": {"type": "battery", "temp": "31000"},
        "thermal_zone1": {"type": "cpu-thermal", "temp": "61500"},
        "cooling_device0": {"type": "pwm-fan", "cur_state": "3"},
        "cooling_device1": {"type": "thermal-cpufreq-0", "cur_state": "2"},
        "cooling_device2": {"type": "thermal-cpufreq-1", "cur_state": "0"},
    }.items():
        (thermal / name).mkdir(parents=True)
        for file, text in files.items():
            (thermal / name / file).write_text(text + "\n")
    cpufreq = tmp_path / "sys/devices/system/cpu/cpu0/cpufreq"
    cpufreq.mkdir(parents=True)
    (cpufreq / "scaling_cur_freq").write_text("600000\n")
    (cpufreq / "cpuinfo_max_freq").write_text("1500000\n")
    found = machine_state(str(tmp_path))
    assert found["temperature_c"] == 61.5
    assert found["cooling"] == {"thermal-cpufreq-0": 2}
    assert (found["clocks_mhz"], found["max_clocks_mhz"]) == ({"cpu0": 600.0}, {"cpu0": 1500.0})


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            "case $1 in get_throttled) echo throttled=0x50005;; measure_clock) echo 'frequency(48)=1500345728';; "
            '*) echo "temp=48.3\'C";; esac',
            {"throttled": 0x50005, "clock_mhz": 1500.345728, "temperature_c": 48.3},
        ),
        ("echo VCHI initialization failed; exit 255", dict.fromkeys(("throttled", "clock_mhz", "temperature_c"))),
        ("exec sleep 30", dict.fromkeys(("throttled", "clock_mhz", "temperature_c"))),
    ],
)
def test_the_firmware_is_asked_and_not_waited_for(tmp_path, monkeypatch, body, expected):
    program = tmp_path / "vcgencmd"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(runner, "VCGENCMD_SECS", 0.2)
    assert runner.firmware_state() == expected


def test_a_board_without_that_firmware_gives_none(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda *words, **named: None)
    assert runner.firmware_state() is None
