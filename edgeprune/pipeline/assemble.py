"""The last step: one report from all stages, and the artifacts in the output folder."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgeprune.atomic import replacing, write_json, write_text
from edgeprune.errors import ValidationError
from edgeprune.graph.surgery import copy_compiled_state
from edgeprune.model_file import save_model
from edgeprune.pipeline.analysis import Analysis, analyse
from edgeprune.pipeline.costs import plan_costs
from edgeprune.pipeline.goal import Goal
from edgeprune.pipeline.job import Job, model_digest, training_text, versions
from edgeprune.pipeline.kernels import NO_SPEED_FROM_ZEROS, Zeros, layer_zeros
from edgeprune.pipeline.pictures import mask_pictures
from edgeprune.pipeline.rounds import load_stage
from edgeprune.pipeline.rows import cost_rows, layer_rows, layers_of, model_record
from edgeprune.pipeline.search import Found
from edgeprune.records.bench import BenchResult
from edgeprune.records.network import Network
from edgeprune.records.report import (
    AllocationTrial,
    BuildReport,
    LimitRow,
    Metric,
    ModelRecord,
    Parity,
    QuantizeTrial,
    RoundRow,
    SparseInference,
)
from edgeprune.report.html import render_html


def assemble(
    job: Job,
    analysis: Analysis,
    goal: Goal,
    baseline: dict[str, Any],
    precision: dict[str, Any],
    found: Found,
    bench: BenchResult,
) -> BuildReport:
    """Write model.tflite, model.keras, report.json, report.html, plan.json and manifest.json; return the report.

    Raises:
        ValidationError: the exported model's outputs are not the Keras model's.
    """
    model = load_stage(job, job.stages.path(found.stage, "model.keras")) if found.stage else job.model
    final = analyse(model)
    parity = Parity(**found.export["parity"])
    if not parity.passed:
        raise ValidationError(
            f"the {goal.mode} model's outputs differ from the Keras model's by {parity.max_error:.3g} of their range, "
            f"tolerance {parity.tolerance:.3g}; nothing was written. Try another --quantize mode"
        )
    zeros_before, zeros_after = layer_zeros(analysis), layer_zeros(final)
    before = _record(job, analysis.network, baseline, "none", zeros_before)
    after = _record(job, final.network, found.export, goal.mode, zeros_after)
    dense, small = analysis.network, final.network
    report = BuildReport(
        target=job.target.name,
        strategy=job.options.reported_strategy,
        seed=job.options.seed,
        baseline=before,
        result=after,
        budget=asdict(job.budget),
        limits=_limits(goal, baseline, found.export),
        layers=layer_rows(
            layers_of(dense, plan_costs(dense, job.target, "none"), dense.full, zeros_before),
            layers_of(small, plan_costs(small, job.target, goal.mode), small.full, zeros_after),
        ),
        frozen=analysis.frozen(),
        rounds=tuple(_round_row(number, row) for number, row in enumerate(found.rounds, 1)),
        quantize_trials=tuple(_trial(job, row) for row in precision["trials"]),
        parity=parity,
        bench=bench,
        notes=_notes(job, goal, found, after),
        versions=versions(job.target),
        allocation_trials=_allocation_trials(job, found),
        sparse_inference=_sparse_inference(found),
    )
    _write(job, report, model, found)
    return report


def _record(job: Job, network: Network, facts: dict[str, Any], mode: str, zeros: Mapping[str, Zeros]) -> ModelRecord:
    metric = job.task.metric
    value = Metric(metric.name, facts["metric"], metric.higher_is_better)
    return model_record(network, network.full, facts, job.target, mode, value, zeros=zeros)


def _limits(goal: Goal, before: dict[str, Any], after: dict[str, Any]) -> tuple[LimitRow, ...]:
    rows = cost_rows(goal.limits, before, after)
    if goal.max_drop is None:
        return rows
    # one count of tolerance in the last digit of a float32 metric
    return (*rows, LimitRow("accuracy_drop", goal.max_drop, 0.0, after["lost"], after["lost"] <= goal.max_drop + 1e-7))


def _round_row(number: int, row: dict[str, Any]) -> RoundRow:
    return RoundRow(
        number=number,
        macs=row["macs"],
        params=row["params"],
        latency_ms=row["costs"]["latency_ms"],
        metric_after_surgery=row["metric_after_surgery"],
        metric_after_training=row["metric_after_training"],
        epochs=row["epochs"],
        sparsity=row.get("sparsity", 0.0),
    )


def _trial(job: Job, row: dict[str, Any]) -> QuantizeTrial:
    metric = job.task.metric
    value = None if row["metric"] is None else Metric(metric.name, row["metric"], metric.higher_is_better)
    return QuantizeTrial(row["quantize"], value, row["size_bytes"], row["chosen"], row["reason"])


def _allocation_trials(job: Job, found: Found) -> tuple[AllocationTrial, ...]:
    """Rows for the report, the chosen one first."""
    metric, asked = job.task.metric, job.options.allocation != "auto"
    rows = []
    for number, row in enumerate(found.allocations):
        value = None if row["metric"] is None else Metric(metric.name, row["metric"], metric.higher_is_better)
        if number == 0:
            reason = "asked for" if asked else "best after a trial cut half of the way to the limits, before training"
            if row["dropped"]:
                reason += f"; drops the blocks of {', '.join(row['dropped'])}"
        else:
            reason = "misses the limits" if value is None else "not better after the same trial cut"
        rows.append(AllocationTrial(row["allocation"], value, number == 0, reason))
    return tuple(rows)


def _notes(job: Job, goal: Goal, found: Found, after: ModelRecord) -> tuple[str, ...]:
    notes = [f"Data: {job.data.description}.", *job.task.notes]
    if job.options.pattern is not None:
        stored = found.export["zero_fraction"]
        notes.append(
            f"{after.sparsity:.1%} of the model's kernel weights are zero, {stored:.1%} of the weights in the file; "
            f"{_speed_from_zeros(job, found)}"
        )
    if not found.rounds:
        dense = "the dense model" if goal.mode == "none" else f"the dense model in {goal.mode}"
        notes.append(f"Nothing was pruned: {dense} keeps the limits of latency, size and RAM.")
    notes.append(
        "The validation data also chose the quantization, the allocation and the epoch; expect a bit less on new data."
    )
    notes.append(
        f"Latency on {job.target.title} is predicted, not measured: {job.target.cost_source}. "
        "The local benchmark ran on this host, one thread, which is another machine."
    )
    return tuple(notes)


def _sparse_inference(found: Found) -> SparseInference | None:
    facts = found.export["sparse_inference"]
    return None if facts is None else SparseInference(**facts)


def _speed_from_zeros(job: Job, found: Found) -> str:
    """What the zeros do for speed, by the rules of the target's runtime on the file that is shipped."""
    runtime = f"{job.target.runtime.package} {job.target.runtime.version}"
    sparse = found.export["sparse_inference"]
    if sparse["engaged"]:
        return f"{runtime} will run sparse kernels, predicted from the file; the predicted latency leaves that out."
    stop = f" ({sparse['reason']})" if sparse["reason"] else ""
    return f"{runtime} computes them like any other number{stop}: {NO_SPEED_FROM_ZEROS}"


def _write(job: Job, report: BuildReport, model: Any, found: Found) -> None:
    """Artifacts, each whole or not at all; the manifest comes last and names them all."""
    folder = job.folder
    with replacing(folder / "model.tflite") as temporary:
        temporary.write_bytes(job.stages.path(found.export["stage"], "model.tflite").read_bytes())
    if model is not job.model:
        copy_compiled_state(job.model, model)
    save_model(model, folder / "model.keras")
    document = report.to_json()
    write_json(folder / "report.json", document)
    write_json(folder / "plan.json", {"layers": document["layers"], "frozen": document["frozen"]})
    pictures = () if job.options.pattern is None else mask_pictures(model)
    write_text(folder / "report.html", render_html(report, pictures))
    names = ("model.tflite", "model.keras", "report.json", "report.html", "plan.json")
    write_json(
        folder / "manifest.json",
        {
            "sha256": {name: _sha256(folder / name) for name in names},
            "model_digest": model_digest(model),
            "seed": job.options.seed,
            "versions": report.versions,
            "inputs": {
                "data": job.data.description,
                "data_sha256": [job.data.train.fingerprint(), job.data.validation.fingerprint()],
                "model_digest": model_digest(job.model),
                "training": training_text(job.training),
                "options": asdict(job.options),
                "budget": asdict(job.budget),
                "target": job.target.name,
            },
        },
    )


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
