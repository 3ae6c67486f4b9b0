"""The local benchmark of a build: dense float32 baseline and result, interleaved."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgeprune.device.bench import bench
from edgeprune.pipeline.job import Job
from edgeprune.records.bench import BenchResult, LatencyStats, Ratio


def measure(job: Job, baseline: Path, result: Path) -> BenchResult:
    """Measure both on this host, one thread; recorded, so that a continued build measures once."""
    document = job.stages.run(
        "bench",
        lambda folder: _named(
            bench(result, baseline=baseline, device="local", threads=1, quick=job.options.quick_bench)
        ),
    )
    return from_json(document)


def _named(result: BenchResult) -> dict[str, Any]:
    """As a plain dictionary, the files called by what they are."""
    document = asdict(result)
    document["model"]["model"] = "model.tflite"
    document["baseline"]["model"] = "the dense float32 model"
    return document


def from_json(document: dict[str, Any]) -> BenchResult:
    """The record that `asdict` took apart."""

    def stats(found: dict[str, Any] | None) -> LatencyStats | None:
        return None if found is None else LatencyStats(**{**found, "samples_ms": tuple(found["samples_ms"])})

    speedup = document["speedup"]
    return BenchResult(
        **{
            **document,
            "model": stats(document["model"]),
            "baseline": stats(document["baseline"]),
            "speedup": None if speedup is None else Ratio(**speedup),
            "warnings": tuple(document["warnings"]),
            "notes": tuple(document.get("notes", ())),
        }
    )
