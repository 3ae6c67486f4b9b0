"""Invented but plausible build reports for the tests of edgeprune.report."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import numpy as np

from edgeprune.records.bench import BenchResult, LatencyStats, Ratio
from edgeprune.records.masks import MaskPicture
from edgeprune.records.report import (
    BuildReport,
    FrozenRow,
    Latency,
    LayerRow,
    LimitRow,
    Metric,
    ModelRecord,
    Parity,
    QuantizeTrial,
    RoundRow,
)

KINDS = ("Conv2D", "DepthwiseConv2D", "Conv2D", "Dense")


def layer_rows(count: int) -> tuple[LayerRow, ...]:
    """`count` rows named like a MobileNetV2; every fourth layer keeps all its channels."""
    rows = []
    for index in range(count):
        before = (16, 32, 96, 144, 576)[index % 5]
        after = before if index % 4 == 3 else before * (3 + index % 5) // 8
        rows.append(
            LayerRow(
                layer=f"block_{index}_{('expand', 'depthwise', 'project', 'head')[index % 4]}",
                kind=KINDS[index % 4],
                channels_before=before,
                channels_after=after,
                macs_before=before * 5000,
                macs_after=after * 2600,
                params_before=before * 96,
                params_after=after * 55,
                latency_ms_before=0.11 + before / 2000,
                latency_ms_after=0.09 + after / 2400,
            )
        )
    return tuple(rows)


def frozen_rows(outputs: int, unknown: int) -> tuple[FrozenRow, ...]:
    """Frozen layers with two reasons."""
    return tuple(
        FrozenRow(f"output_{index}", "Dense", "its channels are the model's output") for index in range(outputs)
    ) + tuple(
        FrozenRow(f"custom_{index}", "Attention2D", "no rule for the layer type Attention2D")
        for index in range(unknown)
    )


def latency_stats(model: str, median_ms: float, count: int, seed: int) -> LatencyStats:
    """Samples with the long right tail that real benchmarks have."""
    noise = random.Random(seed)
    samples = sorted(median_ms * (0.97 + noise.lognormvariate(-3.4, 0.7)) for _ in range(count))
    return LatencyStats(
        model=model,
        samples_ms=tuple(samples),
        median_ms=samples[count // 2],
        p90_ms=samples[int(count * 0.9)] if count >= 10 else None,
        p99_ms=samples[int(count * 0.99)] if count >= 100 else None,
    )


def bench_result(count: int = 600) -> BenchResult:
    """A local benchmark with one warning."""
    return BenchResult(
        device="this computer",
        runtime="ai-edge-litert 2.3.0",
        threads=2,
        rounds=5,
        model=latency_stats("model.tflite", 1.31, count, 1),
        baseline=latency_stats("baseline.tflite", 2.42, count, 2),
        speedup=Ratio(value=1.85, low=1.82, high=1.88, confidence=0.95),
        warnings=("the median drifted by 6.2 % between rounds; close other programs and measure again",),
    )


def sample_report(layers: int = 21, **changes: Any) -> BuildReport:
    """A build for a Raspberry Pi 4 that keeps its budget; `changes` replace whole fields."""
    baseline = ModelRecord(
        metric=Metric("accuracy", 0.981, True),
        size_bytes=1_234_567,
        macs=12_345_678,
        params=301_234,
        peak_ram_bytes=812_544,
        latency_ms=Latency(12.47, "predicted", "Raspberry Pi 4", 4),
        quantize="none",
    )
    result = ModelRecord(
        metric=Metric("accuracy", 0.978, True),
        size_bytes=382_716,
        macs=4_210_988,
        params=91_377,
        peak_ram_bytes=296_448,
        latency_ms=Latency(4.3, "predicted", "Raspberry Pi 4", 4),
        quantize="int8",
    )
    report = BuildReport(
        target="rpi4",
        strategy="structured",
        seed=7,
        baseline=baseline,
        result=result,
        budget={"latency_ms": 5.0, "size_kb": 400.0, "ram_kb": 500.0, "max_accuracy_drop": 0.01, "size_ratio": None},
        limits=(
            LimitRow("latency_ms", 5.0, 12.47, 4.3, True),
            LimitRow("size_kb", 400.0, 1234.567, 382.716, True),
            LimitRow("ram_kb", 500.0, 812.544, 296.448, True),
            LimitRow("accuracy_drop", 0.01, 0.0, 0.003, True),
        ),
        layers=layer_rows(layers),
        frozen=frozen_rows(1, 3),
        rounds=(
            RoundRow(1, 8_900_000, 210_000, 9.1, 0.912, 0.9795, 4),
            RoundRow(2, 6_400_000, 150_000, 6.8, 0.883, 0.9788, 4),
            RoundRow(3, 4_900_000, 110_000, 5.2, 0.861, 0.9791, 5),
            RoundRow(4, 4_210_988, 91_377, 4.3, 0.902, 0.9782, 7),
        ),
        quantize_trials=(
            QuantizeTrial("none", Metric("accuracy", 0.9782, True), 402_331, False, "403 kB is over the size limit"),
            QuantizeTrial("float16", Metric("accuracy", 0.9782, True), 208_118, False, "no faster than float32 here"),
            QuantizeTrial("dynamic", None, None, False, "does not load on tflite-runtime 2.14 (FULLY_CONNECTED v12)"),
            QuantizeTrial("int8", Metric("accuracy", 0.978, True), 382_716, True, "the fastest mode within the limits"),
        ),
        parity=Parity("int8", 128, 0.031, 0.0042, 0.1, True),
        bench=bench_result(),
        notes=("BatchNormalization statistics were re-estimated on 1,024 samples.",),
        versions={"edgeprune": "0.1.0", "tensorflow": "2.21.0", "keras": "3.15.0", "ai-edge-litert": "2.3.0"},
    )
    return dataclasses.replace(report, **changes)


def sparse_report() -> BuildReport:
    """80 % zeros in all kernels but the depthwise ones, made by one round."""
    report = sample_report()
    return dataclasses.replace(
        report,
        strategy="sparse",
        result=dataclasses.replace(report.result, sparsity=0.77),
        layers=tuple(
            dataclasses.replace(row, sparsity_after=0.0 if row.kind == "DepthwiseConv2D" else 0.8)
            for row in report.layers
        ),
        rounds=(*report.rounds[:1], dataclasses.replace(report.rounds[1], sparsity=0.8)),
    )


def mask_pictures(count: int) -> tuple[MaskPicture, ...]:
    """Random masks of kernels of many shapes; names as Keras makes them."""
    rng = np.random.default_rng(0)
    found = []
    for index in range(count):
        rows, columns = (8, 64, 24, 64)[index % 4], (27, 64, 6, 1)[index % 4]
        found.append(
            MaskPicture(f"block_{index}_expand/kernel", 4 * rows, 4 * columns, 0.8, rng.random((rows, columns)) ** 2)
        )
    return tuple(found)


def missed_report() -> BuildReport:
    """Latency 6.2 ms against 5 ms, and the metric fell by 1.8 points where 1 is allowed."""
    report = sample_report()
    result = dataclasses.replace(
        report.result,
        latency_ms=Latency(6.2, "predicted", "Raspberry Pi 4", 4),
        metric=Metric("accuracy", 0.963, True),
    )
    limits = (
        LimitRow("latency_ms", 5.0, 12.47, 6.2, False),
        LimitRow("size_kb", 400.0, 1234.567, 382.716, True),
        LimitRow("accuracy_drop", 0.01, 0.0, 0.018, False),
    )
    return dataclasses.replace(report, result=result, limits=limits)


def regression_report() -> BuildReport:
    """The metric is an error: lower is better, and the limit is relative."""
    report = sample_report()
    return dataclasses.replace(
        report,
        baseline=dataclasses.replace(report.baseline, metric=Metric("mean_absolute_error", 2.5, False)),
        result=dataclasses.replace(report.result, metric=Metric("mean_absolute_error", 2.6, False)),
        limits=(LimitRow("accuracy_drop", 0.05, 0.0, 0.04, True),),
        rounds=(RoundRow(1, 8_900_000, 210_000, 9.1, 3.9, 2.55, 4), RoundRow(2, 4_210_988, 91_377, 4.3, 4.4, 2.6, 4)),
    )


def hostile_report() -> BuildReport:
    """Names that would break the page, the table or the terminal if they were not escaped."""
    name = """<script>alert('x')</script>"onload=alert(1)&[red]\x1b[31m"""
    report = sample_report(3)
    layers = (dataclasses.replace(report.layers[0], layer=name, kind=name), *report.layers[1:])
    return dataclasses.replace(
        report,
        target=name,
        layers=layers,
        frozen=(FrozenRow(name, name, name),),
        notes=(name,),
        versions={name: name},
        baseline=dataclasses.replace(report.baseline, metric=Metric(name, 0.9, True)),
        result=dataclasses.replace(
            report.result, metric=Metric(name, 0.8, True), latency_ms=Latency(4.3, "predicted", name, 4)
        ),
        quantize_trials=(QuantizeTrial(name, None, None, True, name),),
        bench=dataclasses.replace(bench_result(), device=name, runtime=name, warnings=(name,)),
    )
