"""benchmark_model's output: both programs, old builds and new ones, and all that is no measurement."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edgeprune.device.adb.output import RunStats, Unusable, parse_run, unknown_flags

pytestmark = pytest.mark.unit

NEW = """INFO: STARTING!
INFO: Log parameter values verbosely: [0]
INFO: count=9 first=87112 curr=51629 min=51629 max=87112 avg=58147.4 std=11478 p5=51629 median=51962 p95=87112

INFO: count=1000 first=52162 curr=49785 min=49088 max=686105 avg=63743.2 std=60716 p5=49620 median=51891 p95=68628

INFO: Inference timings in us: Init: 119515, First inference: 87112, Warmup (avg): 58147.4, Inference (avg): 63743.2
INFO: Note: as the benchmark tool itself affects memory footprint, the following is only APPROXIMATE
INFO: Memory footprint delta from the start of the tool (MB): init=55.4961 overall=65.5
INFO: Overall peak memory footprint (MB) via periodic monitoring: 70.25
"""
OLD = """STARTING!
Initialized session in 0.896ms
count=215 first=12231 curr=2106 min=2065 max=12231 avg=2331.42 std=746

count=459 first=2143 curr=2101 min=2056 max=2656 avg=2177.1 std=124

Average inference timings in us: Warmup: 2331.42, Init: 896, no stats: 2177.1
"""
LITERT_OUT = """INFO: count=1 curr=729425

INFO: count=3 first=1180000 curr=1182000 min=1180000 max=1182000 avg=1.18111e+06 std=816

"""
LITERT_ERR = """INFO: [benchmark_litert_model.h:92]
========== BENCHMARK RESULTS ==========
INFO: [benchmark_litert_model.h:93] Model initialization: 97.45 ms
INFO: [benchmark_litert_model.h:94] Warmup (first):       729.42 ms
INFO: [benchmark_litert_model.h:96] Warmup (avg):         729.42 ms (1 runs)
INFO: [benchmark_litert_model.h:98] Inference (avg):      1181.11 ms (3 runs)
INFO: [benchmark_litert_model.h:102] Inference (min):      1180.00 ms
INFO: [benchmark_litert_model.h:130] Init footprint:       12.50 MB
INFO: [benchmark_litert_model.h:132] Overall footprint:    20.25 MB
"""


def replaced(text: str, old: str, new: str) -> str:
    assert old in text
    return text.replace(old, new)


def test_a_new_build():
    run = parse_run(NEW)
    assert run.kind == "TFLite"
    assert run.inference == RunStats(1000, 52162, 49088, 686105, 63743.2, 60716, 49620, 51891, 68628)
    # The first line is the warm-up.
    assert (run.warmup.count, run.warmup.avg_us) == (9, 58147.4)
    assert run.init_us == 119515
    assert (run.memory_init_mb, run.memory_overall_mb, run.memory_peak_mb) == (55.4961, 65.5, 70.25)


def test_an_old_build_without_prefix_percentiles_and_memory():
    run = parse_run(OLD)
    assert run.inference == RunStats(459, 2143, 2056, 2656, 2177.1, 124)
    assert run.init_us == 896
    assert run.memory_overall_mb is None


def test_the_litert_tool():
    run = parse_run(LITERT_OUT, LITERT_ERR)
    assert run.kind == "LiteRT"
    assert run.warmup == RunStats(1, 729425, 729425, 729425, 729425, 0)
    assert run.inference.avg_us == 1181110
    assert run.init_us == pytest.approx(97450)
    assert (run.memory_init_mb, run.memory_overall_mb, run.memory_peak_mb) == (12.5, 20.25, None)


def test_runs_that_took_equally_long():
    line = "INFO: count=1000 first=52162 curr=49785 min=49088 max=686105 avg=63743.2 std=60716"
    text = replaced(NEW, f"{line} p5=49620 median=51891 p95=68628", "INFO: count=4 curr=50(all same)")
    assert parse_run(replaced(text, "63743.2", "50")).inference == RunStats(4, 50, 50, 50, 50, 0)


def test_less_than_a_microsecond_is_shown_as_none():
    line = "count=1000 first=1 curr=0 min=0 max=9 avg=0.6 std=1 p5=0 median=0 p95=1"
    text = replaced(NEW, NEW.splitlines()[4].removeprefix("INFO: "), line)
    assert parse_run(replaced(text, "(avg): 63743.2", "(avg): 0.6")).inference.avg_us == 0.6


def test_percentiles_are_known_or_not_but_never_some():
    with pytest.raises(Unusable):
        parse_run(replaced(NEW, " p95=68628", ""))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("INFO: count=9 first=87112", "INFO: coun", "1 complete count= lines instead of 2"),
        ("count=1000", "count=0", "nothing was run"),
        ("count=1000", "count=1", "contradicts itself"),
        ("count=1000", "count=-3", "1 complete count="),
        ("avg=63743.2", "avg=0", "avg is 0"),
        ("avg=63743.2", "avg=-63743.2", "avg is -63743.2"),
        ("avg=63743.2", "avg=nan", "avg is nan"),
        ("avg=63743.2", "avg=inf", "avg is inf"),
        ("avg=63743.2", "avg=49000", "contradicts itself"),
        ("avg=63743.2", "avg=686200", "contradicts itself"),
        ("std=60716", "std=-1", "std is -1"),
        ("std=60716", "std=700000", "contradicts itself"),
        ("first=52162", "first=40000", "contradicts itself"),
        ("curr=49785", "curr=700000", "contradicts itself"),
        ("min=49088", "min=0", "took no time"),
        ("median=51891", "median=99999", "contradicts itself"),
        ("Inference (avg): 63743.2", "Inference (avg): 63800", "the summary says inference 63800"),
        ("Warmup (avg): 58147.4", "Warmup (avg): 63743.2", "the summary says warmup"),
        ("First inference: 87112", "First inference: 87113.9", "the summary says first"),
        ("Init: 119515", "Init: -5", "Init is -5"),
        ("Init: 119515, ", "", "incomplete"),
        ("Init: 119515", "Init: 119515, Init: 119515", "garbled"),
        ("Inference timings", "Inference tim", "timing summary"),
        ("overall=65.5", "overall=inf", "memory footprint of inf MB"),
    ],
)
def test_what_is_missing_or_can_not_be(old, new, reason):
    with pytest.raises(Unusable, match=reason):
        parse_run(replaced(NEW, old, new))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("1181.11 ms (3 runs)", "1181.14 ms (3 runs)", "the summary says"),
        ("1181.11 ms (3 runs)", "1181.11 ms (4 runs)", "the summary says"),
        ("Model initialization", "Model", "timing summary"),
        ("Inference (avg)", "Inference (a", "Inference"),
    ],
)
def test_the_litert_summary_must_agree(old, new, reason):
    """1181.14 ms is more than hundredths here and six digits there explain."""
    with pytest.raises(Unusable, match=reason):
        parse_run(LITERT_OUT, replaced(LITERT_ERR, old, new))


def test_the_warm_up_alone_never_counts():
    with pytest.raises(Unusable, match="1 complete"):
        parse_run("\n".join(NEW.splitlines()[:4] + NEW.splitlines()[6:]))


def test_two_runs_in_one_output_are_none():
    with pytest.raises(Unusable, match="4 complete"):
        parse_run(NEW + NEW)


def test_unknown_flags_are_found_with_and_without_prefix():
    assert (
        unknown_flags("WARN: Unconsumed cmdline flags: --use_xnnpack=true --x=1 \nINFO: x")
        == "--use_xnnpack=true --x=1"
    )
    assert unknown_flags("Unconsumed cmdline flags: --a=b") == "--a=b"
    assert unknown_flags(NEW) is None


def series(times: list[int], *, percentiles: bool) -> str:
    """A count= line as Stat::OutputToStream writes it (tsl/util/stats_calculator.h): doubles with six digits."""
    if min(times) == max(times):
        return f"count={len(times)} curr={times[-1]}" + ("(all same)" if len(times) > 1 else "")
    mean = sum(times) / len(times)
    std = (sum((time - mean) ** 2 for time in times) / len(times)) ** 0.5
    line = f"count={len(times)} first={times[0]} curr={times[-1]} min={min(times)} max={max(times)} "
    line += f"avg={mean:.6g} std={int(std)}"
    if percentiles:
        ranked = sorted(times)
        at = [ranked[int(share * (len(ranked) - 1))] for share in (0.05, 0.5, 0.95)]
        line += " p5={} median={} p95={}".format(*at)
    return line


@st.composite
def outputs(draw) -> tuple[str, list[int]]:
    """(an output, the times behind it)."""
    prefix, percentiles = draw(st.sampled_from(["INFO: ", ""])), draw(st.booleans())
    warmup, times = (draw(st.lists(st.integers(1, 10**9), min_size=1, max_size=30)) for _ in range(2))
    lines = [f"{prefix}STARTING!"]
    lines += [f"{prefix}{series(one, percentiles=percentiles)}\n" for one in (warmup, times)]
    averages = [f"{sum(one) / len(one):.6g}" for one in (warmup, times)]
    lines.append(
        f"{prefix}Inference timings in us: Init: {draw(st.integers(0, 10**7))}, First inference: {warmup[0]}, "
        f"Warmup (avg): {averages[0]}, Inference (avg): {averages[1]}"
    )
    return "\n".join(lines), times


@given(outputs())
def test_what_the_tool_prints_is_understood(output):
    text, times = output
    found = parse_run(text).inference
    assert found.count == len(times)
    assert found.avg_us == pytest.approx(sum(times) / len(times), rel=1e-5)
    assert (found.min_us, found.max_us, found.first_us) == (min(times), max(times), times[0])


@given(outputs(), st.data())
def test_a_shorter_output_gives_the_same_number_or_none(output, data):
    """However the output breaks off, no other number comes out."""
    text, _ = output
    whole = parse_run(text)
    cut = text[: data.draw(st.integers(0, len(text) - 1))]
    try:
        run = parse_run(cut)
    except Unusable:
        return
    assert run.inference == whole.inference


@given(outputs(), st.data())
def test_a_lost_line_gives_the_same_number_or_none(output, data):
    text, _ = output
    whole, lines = parse_run(text), text.split("\n")
    del lines[data.draw(st.integers(0, len(lines) - 1))]
    try:
        run = parse_run("\n".join(lines))
    except Unusable:
        return
    assert run.inference == whole.inference


@given(st.text(), st.text())
@example("count=1 curr=5\ncount=1 curr=5\nInference timings in us: ", "")
@example("count=1 curr=5\ncount=1 curr=5\nInference timings in us: Init: 1, Init: 2", "")
def test_anything_is_a_number_or_unusable(stdout, stderr):
    with contextlib.suppress(Unusable):
        assert parse_run(stdout, stderr).inference.avg_us > 0
