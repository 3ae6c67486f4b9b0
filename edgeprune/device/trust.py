"""Why a measurement may not be trusted. The rules are for states in the form of `runner.machine_state`; what a device
does not tell gives no warning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeprune.device.stats import MIN_ROUNDS_CLUSTERED, drift
from edgeprune.records.bench import LatencyStats

MAX_DRIFT = 0.05
MAX_RISE_C = 10.0
# Raspberry Pis slow down from here on; the soft limit of the Pi 3B+ is 60 degrees and shows in its throttle bits.
HOT_C = 80.0
MAX_CLOCK_JUMP_SECS = 1.0
MIN_CLOCK = 0.95
# Cores that differ by more are of different kinds.
SAME_SPEED = 0.9

# Bits of `vcgencmd get_throttled`: now, and 16 places higher since the board was started
# https://www.raspberrypi.com/documentation/computers/os.html#get_throttled
_THROTTLED = {
    0: "under-voltage",
    1: "CPU frequency capped",
    2: "throttled",
    3: "soft temperature limit reached",
}
_HAS_HAPPENED = 16


def machine_warnings(machine: Mapping[str, Any], threads: int) -> tuple[str, ...]:
    """Warnings from the state of the machine before the run."""
    warnings = []
    cores, load = machine.get("cores"), machine.get("load_1min")
    slow = [governor for governor in machine.get("governors") or [] if governor != "performance"]
    if slow:
        warnings.append(f'the CPU clock may change while measuring: governor {", ".join(slow)}, not "performance"')
    if cores and load is not None and load > cores:
        warnings.append(f"other programs are busy: load average {load:.1f} on {cores} cores")
    if cores and threads > cores:
        warnings.append(f"{threads} threads were asked for, but only {cores} cores are there")
    speeds = machine.get("core_speeds") or [1]
    if "pinned" in machine and machine["pinned"] is None and min(speeds) < SAME_SPEED * max(speeds):
        warnings.append("the cores differ in speed, and the system refused to keep the run on the fastest ones")
    return tuple(warnings)


def change_warnings(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[str, ...]:
    """Warnings from what happened to the machine during the run."""
    return (
        *_throttle_warnings(before.get("firmware") or {}, after.get("firmware") or {}),
        *_cooling_warnings(before, after),
        *_temperature_warnings(_temperature_c(before), _temperature_c(after)),
        *_clock_warnings(before, after),
    )


def sample_warnings(models: tuple[LatencyStats, ...], rounds: int) -> tuple[str, ...]:
    """Warnings from the samples themselves: drift, and too few rounds for an honest interval."""
    warnings = [
        f"{stats.model}: the median moved by {change:+.0%} from the first half of the samples to the last"
        for stats in models
        for change in (drift(stats.samples_ms),)
        if abs(change) > MAX_DRIFT
    ]
    if len(models) > 1 and rounds < MIN_ROUNDS_CLUSTERED:
        warnings.append(
            f"{rounds} round(s) can't show how the machine's speed wanders: the interval may be too narrow; "
            f"use {MIN_ROUNDS_CLUSTERED} or more"
        )
    return tuple(warnings)


def _throttle_warnings(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """One warning per throttle bit that is set, with when it was."""
    first, last = (int(state.get("throttled") or 0) for state in (before, after))
    warnings = []
    for bit, name in _THROTTLED.items():
        now, past = 1 << bit, 1 << bit + _HAS_HAPPENED
        if (first | last) & now or (last & past and not first & past):
            warnings.append(f"the board reports during the run: {name}")
        elif last & past:
            warnings.append(f"the board reports since it was started, before the run: {name}")
    return warnings


def _cooling_warnings(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    kinds = sorted({**(before.get("cooling") or {}), **(after.get("cooling") or {})})
    return [f"the system slows the CPU to cool it: {', '.join(kinds)}"] if kinds else []


def _temperature_c(state: Mapping[str, Any]) -> float | None:
    """The firmware's value, else the kernel's."""
    value = (state.get("firmware") or {}).get("temperature_c")
    return state.get("temperature_c") if value is None else value


def _temperature_warnings(before: float | None, after: float | None) -> list[str]:
    if after is not None and after >= HOT_C:
        return [f"the CPU is hot: {after:.0f} °C after the run; boards slow down from {HOT_C:.0f} °C on"]
    if before is not None and after is not None and after - before > MAX_RISE_C:
        return [f"the CPU warmed up from {before:.0f} to {after:.0f} °C during the run; let it settle, then repeat"]
    return []


def _clock_warnings(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    warnings = []
    real, highest = (after.get("firmware") or {}).get("clock_mhz"), after.get("max_clocks_mhz") or {}
    # Read right after the last invoke; other governors may have lowered it by then, and are named themselves.
    if real and highest and after.get("governors") == ["performance"] and real < MIN_CLOCK * max(highest.values()):
        warnings.append(f"the CPU ran at {real:.0f} MHz, not at its {max(highest.values()):.0f} MHz")
    clocks = [state.get(name) for state in (before, after) for name in ("wall_secs", "steady_secs")]
    if None not in clocks:
        first_wall, first_steady, last_wall, last_steady = (float(value or 0) for value in clocks)
        jump = (last_wall - first_wall) - (last_steady - first_steady)
        if abs(jump) > MAX_CLOCK_JUMP_SECS:
            warnings.append(
                f"the device's clock jumped by {jump:+.1f} s during the run: it was set, or the device slept"
            )
    return warnings
