"""The last step: one report from all stages, and the artifacts in the output folder."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from edgeprune.atomic import replacing, write_json, write_text
from edgeprune.errors import ValidationError
from edgeprune.graph.surgery import copy_compiled_state
from edgeprune.model_file import save_model
from edgeprune.pipeline.analysis import Analysis, analyse
from edgeprune.pipeline.artifact import ENGAGED
from edgeprune.pipeline.costs import plan_costs
from edgeprune.pipeline.emulated import count_sparse
from edgeprune.pipeline.goal import Goal
from edgeprune.pipeline.job import Job, model_digest, training_text, versions
from edgeprune.pipeline.kernels import Zeros, layer_zeros
from edgeprune.pipeline.measure import instructions, measure, measures_target
from edgeprune.pipeline.pictures import mask_pictures
from edgeprune.pipeline.precision import ASKED
from edgeprune.pipeline.rounds import load_stage
from edgeprune.pipeline.rows import cost_rows, layer_rows, layers_of, model_record
from edgeprune.pipeline.search import Found
from edgeprune.pipeline.sparse_kernels import FLOAT_MODES, check_engaged, speed_from_zeros
from edgeprune.pipeline.strategies import Candidate
from edgeprune.pipeline.strategy_rows import strategy_notes, strategy_trials
from edgeprune.records.bench import BenchResult
from edgeprune.records.network import Network
from edgeprune.records.report import (
    AllocationTrial,
    BuildReport,
    Latency,
    LimitRow,
    Metric,
    ModelRecord,
    Parity,
    QuantizeTrial,
    RoundRow,
    SparseInference,
)
from edgeprune.report.html import render_html


def assemble(job: Job, analysis: Analysis, baseline: dict[str, Any], candidates: Sequence[Candidate]) -> BuildReport:
    """Write model.tflite, model.keras, report.json, report.html, plan.json and manifest.json; return the report.

    candidates: of `strategies`; the first one is the result.

    Raises:
        ValidationError: the exported model's outputs are not the Keras model's, or the emulated board does not do what
            was predicted from the file.
    """
    best = candidates[0]
    assert best.aimed is not None
    assert best.found is not None
    # the strategy's own job knows where its files are
    given, job, goal, found = job, best.aimed.job, best.aimed.goal, best.found
    model = load_stage(job, job.stages.path(found.stage, "model.keras")) if found.stage else job.model
    final = analyse(model)
    parity = Parity(**found.export["parity"])
    if not parity.passed:
        raise ValidationError(
            f"the {goal.mode} model's outputs differ from the Keras model's by {parity.max_error:.3g} of their range, "
            f"tolerance {parity.tolerance:.3g}; nothing was written. Try another --quantize mode"
        )
    file = job.stages.path(found.export["stage"], "model.tflite")
    bench = measure(job, found.export, file)
    sparse = _sparse_inference(job, model, goal.mode, found, file)
    zeros_before, zeros_after = layer_zeros(analysis), layer_zeros(final)
    if measures_target(job.options.device):
        # one pair: what ran in turns with the result, not what was measured alone at the start
        assert bench.baseline is not None
        baseline = baseline | {"latency_ms": bench.baseline.median_ms}
    before = _record(job, analysis.network, baseline, "none", zeros_before, bench)
    after = _record(job, final.network, found.export, goal.mode, zeros_after, bench)
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
        quantize_trials=tuple(_trial(given, row) for row in best.aimed.precision["trials"]),
        parity=parity,
        bench=bench,
        notes=_notes(job, best, candidates, after, sparse),
        versions=versions(job.target),
        allocation_trials=_allocation_trials(given, candidates),
        sparse_inference=sparse,
        strategy_trials=strategy_trials(job, candidates),
        instructions=instructions(job, file),
    )
    _write(given, job, report, model, found)
    return report


def _record(
    job: Job, network: Network, facts: dict[str, Any], mode: str, zeros: Mapping[str, Zeros], bench: BenchResult
) -> ModelRecord:
    metric = job.task.metric
    value = Metric(metric.name, facts["metric"], metric.higher_is_better)
    record = model_record(network, network.full, facts, job.target, mode, value, zeros=zeros)
    known = replace(record, process_ram_bytes=facts["process_ram_bytes"], energy_mj=facts["energy_mj"])
    if measures_target(job.options.device):
        return replace(known, latency_ms=Latency(facts["latency_ms"], "measured", bench.device, bench.threads))
    return replace(known, latency_ms=replace(record.latency_ms, low=facts["low"], high=facts["high"]))


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
    reason = row["reason"]
    if row["chosen"] and job.options.quantize == "auto" and reason == ASKED:  # by the contest of strategies
        reason = "sparse kernels compute in float"
    return QuantizeTrial(row["quantize"], value, row["size_bytes"], row["chosen"], reason)


def _allocation_trials(job: Job, candidates: Sequence[Candidate]) -> tuple[AllocationTrial, ...]:
    """Rows for the report, the chosen one first; where strategies were compared, the first that removed channels chose
    for all."""
    founds = [row.found for row in candidates if row.found is not None]
    if not founds[0].allocations:
        return ()
    found = max(founds, key=lambda each: len(each.allocations))
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


def _notes(
    job: Job, best: Candidate, candidates: Sequence[Candidate], after: ModelRecord, sparse: SparseInference | None
) -> tuple[str, ...]:
    assert best.aimed is not None
    assert best.found is not None
    goal, found = best.aimed.goal, best.found
    notes = [f"Data: {job.data.description}.", *job.task.notes]
    if sparse is not None:
        stored = found.export["zero_fraction"]
        notes.append(
            f"{after.sparsity:.1%} of the model's kernel weights are zero, {stored:.1%} of the weights in the file; "
            f"{_speed_from_zeros(job, sparse)}"
        )
    if not found.rounds:
        dense = "the dense model" if goal.mode == "none" else f"the dense model in {goal.mode}"
        notes.append(f"Nothing was pruned: {dense} keeps the limits of latency, size and RAM.")
    notes += strategy_notes(candidates)
    notes.append(
        "The validation data also chose the quantization, the allocation and the epoch; expect a bit less on new data."
    )
    if not measures_target(job.options.device):
        notes.append(
            f"Latency on {job.target.title} is predicted, not measured: {job.target.cost_source}. "
            "The local benchmark ran on this host, one thread, which is another machine."
        )
    return tuple(notes)


def _sparse_inference(job: Job, model: Any, mode: str, found: Found, file: Path) -> SparseInference | None:
    """Whether the shipped file runs sparse kernels: seen on the emulated board where one is set up."""
    predicted = found.export["sparse_inference"]
    if predicted is None:
        return None
    facts = count_sparse(job, model, file, predicted)
    if mode in FLOAT_MODES:
        check_engaged(job, facts["verdict"], facts["reason"])
    verdict = facts.pop("verdict")
    return SparseInference(engaged=verdict in ENGAGED, **facts)


def _speed_from_zeros(job: Job, sparse: SparseInference) -> str:
    """What the zeros do for speed, by the rules of the target's runtime on the file that is shipped."""
    how_known = "predicted from the file"
    if sparse.how_known == "emulated":
        assert sparse.instructions_dense is not None
        assert sparse.instructions_sparse is not None
        share = sparse.instructions_sparse / sparse.instructions_dense
        how_known = (
            f"seen on the emulated board: {share:.2f} of the instructions of the same model with its zeros stored"
        )
    return speed_from_zeros(job.target, sparse.engaged, sparse.reason, how_known)


def _write(given: Job, job: Job, report: BuildReport, model: Any, found: Found) -> None:
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
                "options": asdict(given.options),
                "budget": asdict(job.budget),
                "target": job.target.name,
            },
        },
    )


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
