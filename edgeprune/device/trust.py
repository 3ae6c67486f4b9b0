"""Why a measurement may not be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeprune.device.stats import MIN_ROUNDS_CLUSTERED, drift
from edgeprune.records.bench import LatencyStats

MAX_DRIFT = 0.05


def machine_warnings(machine: Mapping[str, Any], threads: int) -> tuple[str, ...]:
    """Warnings from the state of the machine before the run (`runner.machine_state`); missing values give none."""
    warnings = []
    cores, load = machine.get("cores"), machine.get("load_1min")
    slow = [governor for governor in machine.get("governors") or [] if governor != "performance"]
    if slow:
        warnings.append(f'the CPU clock may change while measuring: governor {", ".join(slow)}, not "performance"')
    if cores and load is not None and load > cores:
        warnings.append(f"other programs are busy: load average {load:.1f} on {cores} cores")
    if cores and threads > cores:
        warnings.append(f"{threads} threads were asked for, but only {cores} cores are there")
    return tuple(warnings)


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
