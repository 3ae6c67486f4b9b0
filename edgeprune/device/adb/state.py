"""What decides whether a phone's times can be trusted: clocks, heat, battery; and the warnings that follow."""

from __future__ import annotations

import re
from typing import Any

from edgeprune.device.adb.client import Adb
from edgeprune.device.adb.phone import Phone
from edgeprune.tflite.model import text as printable

# android.os.PowerManager.THERMAL_STATUS_*
THERMAL_STATUS = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")
_CPU_TEMPERATURE_TYPE = 0  # android.os.Temperature.TYPE_CPU
_CLOCKS = ("scaling_cur_freq", "scaling_max_freq", "cpuinfo_max_freq")
_LOW_BATTERY = 20

_SCRIPT = """
cd /sys/devices/system/cpu && grep -H . cpu[0-9]*/cpufreq/scaling_governor cpu[0-9]*/cpufreq/scaling_cur_freq \
cpu[0-9]*/cpufreq/scaling_max_freq cpu[0-9]*/cpufreq/cpuinfo_max_freq 2>/dev/null
cd /sys/class/thermal && grep -H . thermal_zone*/temp thermal_zone*/type 2>/dev/null
printf 'load=%s\\n' "$(cat /proc/loadavg 2>/dev/null)"
dumpsys thermalservice 2>/dev/null | grep -E 'Thermal Status:|mType=' | sed 's/^/thermal=/'
dumpsys battery 2>/dev/null | grep -E 'level:|powered:' | sed 's/^/battery=/'
printf 'saver=%s\\n' "$(settings get global low_power 2>/dev/null)"
true"""

_CLOCK = re.compile(r"cpu(\d+)/cpufreq/(\w+):(.*)")
_ZONE = re.compile(r"thermal_zone(\d+)/(temp|type):(.*)")
_STATUS = re.compile(r"Thermal Status: (\d+)")
_TEMPERATURE = re.compile(r"mValue=(-?[\d.]+), mType=(\d+), mName=([^,]+),")


def read_state(adb: Adb, phone: Phone) -> dict[str, Any]:
    """The state of the phone now: the keys of `runner.machine_state` and some that only Android has.

    Values that the phone does not tell are null: sysfs is closed to the shell on many phones. clocks_khz: per core
    (requested now, limit now, highest). temperature_c: of the hottest CPU sensor.

    Raises:
        DeviceLost, DeviceError: it can't be asked.
    """
    lines = [printable(line.rstrip()) for line in adb.ask(_SCRIPT, "reading clocks and temperatures").splitlines()]
    found: dict[str, list[str]] = {}
    for name, equals, value in (line.partition("=") for line in lines):
        if equals:
            found.setdefault(name, []).append(value.strip())
    clocks, zones = _by_number(_CLOCK, lines), _by_number(_ZONE, lines)
    thermal = found.get("thermal", [])
    status = next((match for line in thermal if (match := _STATUS.search(line))), None)
    battery = dict(_battery(found.get("battery", [])))
    load = (found.get("load") or [""])[0].split()
    return {
        "architecture": phone.abis[0],
        "model": phone.model,
        "android": phone.android,
        "cores": len(phone.cores) or None,
        "governors": sorted({core["scaling_governor"] for core in clocks if "scaling_governor" in core}),
        "clocks_khz": [[_whole(core.get(name, "")) for name in _CLOCKS] for core in clocks],
        "load_1min": _real(load[0]) if load else None,
        "temperature_c": _hottest(thermal, zones),
        "thermal_status": int(status[1]) if status else None,
        "battery_percent": battery.get("level"),
        "plugged": battery.get("plugged"),
        "battery_saver": {"1": True, "0": False}.get((found.get("saver") or [""])[0]),
    }


def state_warnings(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Why times between two states can't be trusted, beyond `trust`; nothing for what the phone does not tell."""
    warnings = []
    for when, state in (("before", before), ("after", after)):
        status = state["thermal_status"]
        if status:
            name = THERMAL_STATUS[status] if status < len(THERMAL_STATUS) else "unknown"
            warnings.append(f"the phone throttles: thermal status {status} ({name}) {when} the run; let it cool down")
    capped = sum(_is_capped(clocks) for clocks in after["clocks_khz"])
    if capped:
        warnings.append(f"the clocks of {capped} cores are held below their highest after the run")
    if before["battery_saver"]:
        warnings.append("the battery saver is on: it slows the phone down")
    level = before["battery_percent"]
    if level is not None and level < _LOW_BATTERY and not before["plugged"]:
        warnings.append(f"the battery is at {level} %: many phones slow down; plug it in")
    return warnings


def _is_capped(clocks: list[int | None]) -> bool:
    _, limit, highest = clocks
    return limit is not None and highest is not None and limit < highest


def _hottest(thermal: list[str], zones: list[dict[str, str]]) -> float | None:
    """Degrees of the hottest CPU sensor, of Android's thermal service or else of the kernel's zones."""
    found = [match for line in thermal for match in _TEMPERATURE.finditer(line)]
    values = [_real(match[1]) for match in found if int(match[2]) == _CPU_TEMPERATURE_TYPE]
    if not values:
        of_cpu = [zone for zone in zones if re.search("cpu|soc", zone.get("type", ""), re.IGNORECASE)]
        values = [_real(zone.get("temp", "")) for zone in of_cpu]
        # Most kernels tell thousandths of a degree, some degrees.
        values = [value / 1000 if value is not None and abs(value) > 1000 else value for value in values]
    # Sensors that are switched off tell absurd values.
    sane = [value for value in values if value is not None and 0 < value < 150]
    return max(sane) if sane else None


def _by_number(pattern: re.Pattern[str], lines: list[str]) -> list[dict[str, str]]:
    """Lines of files that are numbered -> per number, in order, what its files say."""
    facts: dict[int, dict[str, str]] = {}
    for found in filter(None, map(pattern.fullmatch, lines)):
        facts.setdefault(int(found[1]), {})[found[2]] = found[3].strip()
    return [facts[number] for number in sorted(facts)]


def _battery(lines: list[str]) -> list[tuple[str, Any]]:
    pairs = [(name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    level = [("level", int(value)) for name, value in pairs if name == "level" and value.isdigit()]
    powered = [value == "true" for name, value in pairs if name.endswith("powered")]
    return level + ([("plugged", any(powered))] if powered else [])


def _whole(text: str) -> int | None:
    return int(text) if text.isdigit() else None


def _real(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
