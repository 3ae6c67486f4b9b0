"""`build`: model + data + target + budget -> a TFLite file that keeps the budget, and a report that shows it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeprune.errors import BudgetError, InputError
from edgeprune.pipeline.job import Job
from edgeprune.pipeline.options import Options
from edgeprune.pipeline.prepare import check_arguments, check_type, prepare, start_tensorflow
from edgeprune.pipeline.stages import only_one_build
from edgeprune.quiet import tensorflow_warnings_muted
from edgeprune.records.report import BuildReport, LimitRow
from edgeprune.target import Budget, Target


@dataclass(frozen=True)
class BuildResult:
    """A finished build. `folder` holds model.tflite, model.keras, report.html, report.json, plan.json and
    manifest.json."""

    report: BuildReport
    folder: Path

    @property
    def tflite(self) -> Path:
        """The TFLite file."""
        return self.folder / "model.tflite"

    def load_model(self) -> Any:
        """The pruned Keras model, compiled as the original was."""
        from edgeprune.model_file import load_model

        return load_model(self.folder / "model.keras")


def build(
    model: Any,
    target: Target | str,
    *,
    train: Any = None,
    validation: Any = None,
    budget: Budget | None = None,
    output: str | Path = "edgeprune-build",
    options: Options | None = None,
    task: Any = None,
    fresh: bool = False,
    search_path: Path | None = None,
    validation_fraction: float = 0.2,
    allow_lambda: bool = False,
) -> BuildResult:
    """Prune, fine-tune, convert and validate a model for a board.

    Interrupted at any point, the same call continues after the last finished step and ends with the same model.
    TensorFlow's operations are made deterministic in this process.

    Args:
        model: a built functional or Sequential Keras 3 model, or the path of a .keras or .h5 file.
        target: a Target, or the name or TOML path of one.
        train: labelled data in any form of `edgeprune.data.load.load_data`: (x, y) arrays, a tf.data.Dataset,
            "file.npz", a folder of class folders, "package.module:function".
        validation: the same for validation; split off from `train` where None.
        budget: limits to keep; the target's default budget where None.
        output: folder for the artifacts; created, and never shared with another build.
        options: epochs, rounds, criterion, quantization, seed; see Options.
        task: a TaskOptions for loss, optimizer and metric where the model is not compiled.
        fresh: throw away what an earlier build left in `output`.

    Raises:
        InputError: something given can't be used.
        BudgetError: the budget can't be met; where training got that far, the closest model is in `output`.
        ValidationError: the TFLite model does not agree with the Keras model or would fail on the target.
    """
    options = Options() if options is None else options
    target = check_arguments("build", target, budget, options)
    check_type("build", "output", output, (str, Path), "the path of a folder")
    folder = Path(output)
    start_tensorflow()
    if isinstance(model, (str, Path)):
        from edgeprune.model_file import load_model

        model = load_model(model, allow_lambda=allow_lambda)
    import keras

    check_type("build", "model", model, keras.Model, "a keras.Model, or the path of a .keras or .h5 file")
    from edgeprune.task.options import TaskOptions

    with only_one_build(folder), tensorflow_warnings_muted():
        job = prepare(
            model,
            train,
            validation,
            target,
            budget,
            options,
            TaskOptions() if task is None else task,
            folder,
            fresh=fresh,
            search_path=search_path,
            validation_fraction=validation_fraction,
            allow_lambda=allow_lambda,
        )
        report = run(job)
    if not report.met:
        raise unmet(report, folder)
    return BuildResult(report, folder)


def unmet(report: BuildReport, folder: Path) -> BudgetError:
    """The error for a budget that the best model misses."""
    missed = [row for row in report.limits if not row.met]
    text = "; ".join(_miss(row, report) for row in missed)
    # Without rounds nothing was trained: the given quantization alone misses the limit.
    advice = "allow more, give more --epochs or --rounds" if report.rounds else "allow more, try --quantize auto"
    return BudgetError(
        f"the budget is not met: {text}. The last model is in {folder}; {advice}, or start from another model",
        {row.name: row.result for row in report.limits},
    )


def _miss(row: LimitRow, report: BuildReport) -> str:
    """One missed limit in words; a drop of a metric that is better when lower is relative to the baseline."""
    if row.name != "accuracy_drop":
        return f"{row.name} reached {row.result:.4g}, limit {row.limit:.4g}"
    before, after = report.baseline.metric, report.result.metric
    assert before is not None
    assert after is not None
    how = "lost" if before.higher_is_better else "rose by a share of"
    return f"{before.name} {before.value:.4g} -> {after.value:.4g} {how} {row.result:.4g}, limit {row.limit:.4g}"


def run(job: Job) -> BuildReport:
    """All stages of a prepared job."""
    from edgeprune.pipeline.aim import aim
    from edgeprune.pipeline.analysis import analyse
    from edgeprune.pipeline.artifact import tflite_metric, write_tflite
    from edgeprune.pipeline.assemble import assemble
    from edgeprune.pipeline.contest import check_candidate
    from edgeprune.pipeline.measure import running_costs
    from edgeprune.pipeline.strategies import compare_strategies, only_strategy
    from edgeprune.plan.limits import resolve

    analysis = analyse(job.model)

    def baseline_stage(folder: Path) -> dict[str, Any]:
        path = folder / job.dense_file.name
        sizes = write_tflite(job, job.model, "none", path)
        metric = tflite_metric(job, path)
        if not math.isfinite(metric):
            raise InputError(
                f"the {job.task.metric.name} of the given model on the validation data is {metric}; check its weights, "
                "its loss and the labels"
            )
        return {"metric": metric, **vars(sizes), **running_costs(job, path)}

    check_candidate(job.options.allocation, job.model)
    baseline = job.stages.run("baseline", baseline_stage)
    limits = resolve(job.budget, baseline["latency_ms"], baseline["size_bytes"], baseline["ram_bytes"])
    first = aim(job, analysis, baseline["metric"], limits)
    compare = compare_strategies if job.options.strategy == "auto" else only_strategy
    return assemble(job, analysis, baseline, compare(first, analysis))
