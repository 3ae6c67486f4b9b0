"""What benchmark_model printed -> numbers that were checked against each other, or a reason why there are none.

Two programs have that name. Both print, for the warm-up first and then for the measured runs, a line of
`Stat::OutputToStream` (tsl/util/stats_calculator.h, times in microseconds):

    INFO: count=50 first=81 curr=80 min=79 max=92 avg=81.2 std=3 p5=79 median=81 p95=90     percentiles since ~2.19
    INFO: count=1 curr=729425                                                               one run
    INFO: count=3 curr=80(all same)                                                         runs that took equally long

The classic TFLite tool sums up with "Inference timings in us: Init: .., Inference (avg): .." (benchmark_model.cc), the
LiteRT tool with a block of lines in milliseconds on stderr (benchmark_litert_model.h).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?(?:nan|inf)"
_WHOLE = r"\d{1,12}"
# "INFO: ", which old builds leave out, and the place in the source that the LiteRT tool names
_PREFIX = r"(?:[A-Z]+: )?(?:\[[^\]\s]+:\d+\] ?)?"
_COUNT_LINE = re.compile(
    rf"{_PREFIX}count=(?P<count>{_WHOLE})"
    rf"(?: first=(?P<first>{_NUMBER}))? curr=(?P<curr>{_NUMBER})(?P<same>\s?\(all same\))?"
    rf"(?: min=(?P<min>{_NUMBER}) max=(?P<max>{_NUMBER}) avg=(?P<avg>{_NUMBER}) std=(?P<std>{_NUMBER}))?"
    rf"(?: p5=(?P<p5>{_NUMBER}) median=(?P<median>{_NUMBER}) p95=(?P<p95>{_NUMBER}))?"
)
_SUMMARY = re.compile(rf"{_PREFIX}(?:Average i|I)nference timings in us: (?P<pairs>.+)")
# what the builds call the same thing
_SUMMARY_KEYS = {
    "Init": "init",
    "First inference": "first",
    "Warmup (avg)": "warmup",
    "Warmup": "warmup",
    "Inference (avg)": "inference",
    "Inference": "inference",
    "no stats": "inference",
}
_LITERT_INIT = re.compile(rf"{_PREFIX}Model initialization:\s+({_NUMBER}) ms")
_LITERT_AVERAGE = re.compile(rf"{_PREFIX}Inference \(avg\):\s+({_NUMBER}) ms \(({_WHOLE}) runs?\)")
_MEMORY = re.compile(
    rf"{_PREFIX}Memory footprint delta from the start of the tool \(MB\): init=({_NUMBER}) overall=({_NUMBER})"
)
_PEAK = re.compile(rf"{_PREFIX}Overall peak memory footprint \(MB\) via periodic monitoring: ({_NUMBER})")
_LITERT_MEMORY = {
    name: re.compile(rf"{_PREFIX}{label}:\s+({_NUMBER}) MB")
    for name, label in (("init", "Init footprint"), ("overall", "Overall footprint"), ("peak", "Peak memory"))
}
_UNKNOWN_FLAGS = re.compile(r"Unconsumed cmdline flags:\s*(.*\S)")
# std::ostream prints six digits; the LiteRT tool prints hundredths of a millisecond
_ROUNDING = 1e-5
_LITERT_ROUNDING_US = 5.0 + 1e-6
_MOST_AVG_WITH_ZERO_US = 10.0


class Unusable(Exception):
    """The output has no number that can be believed; the text says why."""


@dataclass(frozen=True)
class RunStats:
    """One series of invokes, times in microseconds. The percentiles are None where the build prints none."""

    count: int
    first_us: float
    min_us: float
    max_us: float
    avg_us: float
    std_us: float
    p5_us: float | None = None
    median_us: float | None = None
    p95_us: float | None = None


@dataclass(frozen=True)
class ProcessRun:
    """What one process of benchmark_model measured.

    kind: "TFLite" or "LiteRT", whose tool it was. init_us: loading the model. The memory numbers are growths of the
    process since its start, in MB as the tool means it (2**20 bytes); None where the tool says nothing.
    """

    kind: str
    warmup: RunStats
    inference: RunStats
    init_us: float
    memory_init_mb: float | None = None
    memory_overall_mb: float | None = None
    memory_peak_mb: float | None = None


def unknown_flags(output: str) -> str | None:
    """The flags that the tool did not know, and passed over with a warning; None when it knew all."""
    found = _UNKNOWN_FLAGS.search(output)
    return found[1] if found else None


def parse_run(stdout: str, stderr: str = "") -> ProcessRun:
    """Parse the output of one process.

    Raises:
        Unusable: lines are missing, doubled, broken, or disagree with each other.
    """
    lines = [line.rstrip() for line in (*stdout.splitlines(), *stderr.splitlines())]
    series = [found for line in lines if (found := _COUNT_LINE.fullmatch(line))]
    if len(series) != 2:
        # The first is the warm-up: one alone must never pass for the measurement.
        raise Unusable(f"{len(series)} complete count= lines instead of 2")
    warmup, inference = (_stats(found) for found in series)
    summaries = _all(_SUMMARY, lines)
    if summaries:
        init_us = _check_summary(_one(summaries, "Inference timings").group("pairs"), warmup, inference)
        memory = _all(_MEMORY, lines)
        sizes = [_size(text) for text in _one(memory, "Memory footprint").groups()] if memory else [None, None]
        peaks = _all(_PEAK, lines)
        peak = _size(_one(peaks, "peak memory").group(1)) if peaks else None
        return ProcessRun("TFLite", warmup, inference, init_us, sizes[0], sizes[1], peak)
    init_us = _number(_one(_all(_LITERT_INIT, lines), "timing summary").group(1), "Init") * 1000
    average, count = _one(_all(_LITERT_AVERAGE, lines), "Inference (avg)").groups()
    if int(count) != inference.count or abs(_number(average, "Inference") * 1000 - inference.avg_us) > (
        _LITERT_ROUNDING_US + _ROUNDING * inference.avg_us
    ):
        raise Unusable(f"the summary says {average} ms in {count} runs, the count= line {_named(inference)}")
    footprints: dict[str, float | None] = {}
    for name, pattern in _LITERT_MEMORY.items():
        told = _all(pattern, lines)
        footprints[name] = _size(_one(told, f"{name} footprint").group(1)) if told else None
    return ProcessRun(
        "LiteRT", warmup, inference, init_us, footprints["init"], footprints["overall"], footprints["peak"]
    )


def _stats(found: re.Match[str]) -> RunStats:
    """One count= line, checked for what holds in any series of times."""
    text = found.group(0)
    count = int(found["count"])
    if count == 0:
        raise Unusable("count=0: nothing was run")
    if found["avg"] is None:
        # All values are the same one. Only a series of one prints no "(all same)".
        if found["first"] is not None or (count > 1) != (found["same"] is not None) or found["p5"] is not None:
            raise Unusable(f'the line "{text}" is incomplete')
        same = _number(found["curr"], "curr")
        return RunStats(count, same, same, same, same, 0.0)
    if found["first"] is None or found["same"] is not None:
        raise Unusable(f'the line "{text}" is garbled')
    value = {name: _number(found[name], name, zero=name in ("first", "min")) for name in ("first", "min", "max", "avg")}
    std = _number(found["std"], "std", zero=True)
    low, high = value["min"] * (1 - _ROUNDING), value["max"] * (1 + _ROUNDING)
    percentiles = [
        None if found[name] is None else _number(found[name], name, zero=True) for name in ("p5", "median", "p95")
    ]
    known = [one for one in percentiles if one is not None]
    inside = [value["first"], _number(found["curr"], "curr", zero=True), value["avg"], *known]
    if not all(low <= one <= high for one in inside) or known != sorted(known) or std > high - low or count < 2:
        raise Unusable(f'the line "{text}" contradicts itself')
    # Whole microseconds: an invoke of 0 is one below 1, which a slow model never has.
    if value["min"] == 0 and value["avg"] > _MOST_AVG_WITH_ZERO_US:
        raise Unusable(f'the line "{text}" has an invoke that took no time')
    return RunStats(count, value["first"], value["min"], value["max"], value["avg"], std, *percentiles)


def _check_summary(pairs: str, warmup: RunStats, inference: RunStats) -> float:
    """Check the classic tool's summary against the count= lines; returns the time of loading, in microseconds."""
    values: dict[str, float] = {}
    for pair in pairs.split(", "):
        name, colon, number = pair.rpartition(": ")
        key = _SUMMARY_KEYS.get(name)
        if not colon or key is None or key in values:
            raise Unusable(f'the line "Inference timings in us: {pairs}" is garbled')
        values[key] = _number(number, name, zero=key == "init")
    if not {"init", "warmup", "inference"} <= values.keys():
        raise Unusable(f'the line "Inference timings in us: {pairs}" is incomplete')
    pairs_to_match = [("warmup", warmup.avg_us), ("inference", inference.avg_us)]
    if "first" in values:
        pairs_to_match.append(("first", warmup.first_us))
    for key, expected in pairs_to_match:
        if not math.isclose(values[key], expected, rel_tol=_ROUNDING):
            raise Unusable(f"the summary says {key} {values[key]:g} us, the count= line {expected:g} us")
    return values["init"]


def _number(text: str | None, name: str, *, zero: bool = False) -> float:
    """A positive time, or zero where that is allowed."""
    value = float(text) if text is not None and re.fullmatch(_NUMBER, text) else math.nan
    if not (value > 0 or (zero and value == 0)) or math.isinf(value):
        raise Unusable(f"{name} is {text}, which is no time")
    return value


def _size(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise Unusable(f"a memory footprint of {text} MB is no size")
    return value


def _all(pattern: re.Pattern[str], lines: list[str]) -> list[re.Match[str]]:
    return [found for line in lines if (found := pattern.fullmatch(line))]


def _one(found: list[re.Match[str]], what: str) -> re.Match[str]:
    if len(found) != 1:
        raise Unusable(f"{len(found)} lines with the {what} instead of 1")
    return found[0]


def _named(stats: RunStats) -> str:
    return f"{stats.avg_us / 1000:.2f} ms in {stats.count} runs"
