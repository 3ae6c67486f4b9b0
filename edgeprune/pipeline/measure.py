"""How long a file takes: predicted from the file, or measured on the device that the build was given."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgeprune.cost.file_latency import predict_file
from edgeprune.cost.memory import predict_ram
from edgeprune.device.bench import bench
from edgeprune.device.devices import is_emulator
from edgeprune.device.instructions import bench_instructions
from edgeprune.pipeline.job import Job
from edgeprune.records.bench import BenchResult, LatencyStats, Ratio
from edgeprune.records.instructions import InstructionBench, InstructionCounts
from edgeprune.tflite.flatbuffer import read_model

LOCAL = "local"
# What files are called in reports.
RESULT, BASELINE = "model.tflite", "the dense float32 model"


def measures_target(device: str) -> bool:
    """Whether a device's times are those of the target: this host and emulated boards are not it."""
    return device != LOCAL and not is_emulator(device)


def running_costs(job: Job, path: Path) -> dict[str, Any]:
    """What one inference of a file takes on the target: latency_ms with the band of a prediction, process_ram_bytes and
    energy_mj; where the latency was measured also "bench", the record with the dense model beside.

    The dense model itself is measured alone.
    """
    model = read_model(path)
    predicted = predict_file(model, job.target)
    costs = {"process_ram_bytes": predict_ram(model, job.target).total, "energy_mj": predicted.energy_mj}
    if not measures_target(job.options.device):
        return costs | {"latency_ms": predicted.ms, "low": predicted.low_ms, "high": predicted.high_ms}
    baseline = job.dense_file if job.dense_file.exists() else None  # it does not while it is measured itself
    found = _bench(path, baseline, job.options.device, job.target.threads, quick=False)
    return costs | {"latency_ms": found["model"]["median_ms"], "bench": found}


def measure(job: Job, export: dict[str, Any], result: Path) -> BenchResult:
    """The benchmark for the report: what was measured on the target's device, else on this host with one thread;
    recorded, so that a continued build measures once."""
    document = export.get("bench")
    if document is None:
        document = job.stages.run(
            "bench", lambda folder: _bench(result, job.dense_file, LOCAL, 1, quick=job.options.quick_bench)
        )
    return from_json(document)


def instructions(job: Job, result: Path) -> InstructionBench | None:
    """Instructions of the result beside the dense model's, where the build was given an emulated board; recorded."""
    device = job.options.device
    if not is_emulator(device):
        return None

    def work(folder: Path) -> dict[str, Any]:
        document = asdict(bench_instructions(result, baseline=job.dense_file, device=device))
        document["model"]["model"], document["baseline"]["model"] = RESULT, BASELINE
        return document

    document = job.stages.run("instructions", work)
    counts = {name: InstructionCounts(**document[name]) for name in ("model", "baseline")}
    return InstructionBench(**{**document, **counts, "warnings": tuple(document["warnings"])})


def _bench(result: Path, baseline: Path | None, device: str, threads: int, *, quick: bool) -> dict[str, Any]:
    """As a plain dictionary, the files called by what they are."""
    document = asdict(bench(result, baseline=baseline, device=device, threads=threads, quick=quick))
    document["model"]["model"] = RESULT
    if baseline is not None:
        document["baseline"]["model"] = BASELINE
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
            "notes": tuple(document["notes"]),
        }
    )
