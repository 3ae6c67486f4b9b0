"""`make_plan`: what a build would cut and what that should cost. Trains nothing, writes nothing."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgeprune.errors import InputError
from edgeprune.pipeline.options import Options, check_options
from edgeprune.pipeline.prepare import start_tensorflow, with_defaults
from edgeprune.records.report import FrozenRow, LayerRow, LimitRow, ModelRecord
from edgeprune.target import QUANTIZE_MODES, Budget, Target, load_target


@dataclass(frozen=True)
class PlanReport:
    """A plan in the form of a build report: `planned` stands where a build has `result`."""

    target: str
    criterion: str
    baseline: ModelRecord
    planned: ModelRecord
    budget: dict[str, float | None]
    limits: tuple[LimitRow, ...]
    layers: tuple[LayerRow, ...]
    frozen: tuple[FrozenRow, ...]
    notes: tuple[str, ...]

    @property
    def met(self) -> bool:
        """Whether the plan keeps every limit by prediction."""
        return all(row.met for row in self.limits)

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary."""
        return {"schema": 1, **asdict(self), "met": self.met}


def make_plan(
    model: Any,
    target: Target | str,
    *,
    train: Any = None,
    budget: Budget | None = None,
    options: Options | None = None,
    task: Any = None,
    search_path: Path | None = None,
    allow_lambda: bool = False,
) -> PlanReport:
    """Plan in one cut what `build` does in rounds.

    The dense model is converted once to know its real file size; everything else is predicted. Without data the
    criterion "l1" is used, and no accuracy is known.

    Raises:
        InputError: something given can't be used.
    """
    options = Options() if options is None else options
    target = load_target(target) if isinstance(target, str) else target
    start_tensorflow()
    if isinstance(model, (str, Path)):
        from edgeprune.model_file import load_model

        model = load_model(model, allow_lambda=allow_lambda)
    notes = []
    if train is None and options.criterion == "taylor":
        options = replace(options, criterion="l1")
        notes.append('Without data channels are ranked by "l1"; a build ranks them by "taylor".')
    check_options(options)
    return _plan(model, target, train, with_defaults(budget, target), options, task, search_path, notes)


def _plan(
    model: Any,
    target: Target,
    train: Any,
    budget: Budget,
    options: Options,
    task: Any,
    search_path: Path | None,
    notes: list[str],
) -> PlanReport:
    import keras

    from edgeprune.export.convert import convert
    from edgeprune.pipeline.allocation import ALLOCATIONS, allocate
    from edgeprune.pipeline.analysis import analyse
    from edgeprune.pipeline.costs import corrections_from, plan_costs
    from edgeprune.pipeline.rows import layer_rows, layers_of
    from edgeprune.plan.limits import resolve

    keras.utils.set_random_seed(options.seed)
    analysis = analyse(model)
    network, full = analysis.network, analysis.network.full
    mode = _mode(model, target, options, notes)
    scores = analysis.scores(
        options.criterion,
        aggregate=options.aggregate,
        normalize=options.normalize,
        **_score_options(model, train, options, task, search_path),
    )
    with tempfile.TemporaryDirectory(prefix="edgeprune-") as folder:
        from edgeprune.atomic import write_bytes
        from edgeprune.pipeline.artifact import sizes_of

        dense = Path(folder) / "dense.tflite"
        write_bytes(dense, convert(model, "none"))
        sizes = sizes_of(dense)
    before = plan_costs(
        network, target, "none", corrections_from(network, target, "none", sizes.size_bytes, sizes.ram_bytes)
    )
    # What is not weights (graph, names, metadata) takes about the same bytes in every mode.
    elsewhere = replace(before.model.corrections, ram_bytes=0)
    after = before if mode == "none" else plan_costs(network, target, mode, elsewhere)
    baseline_costs = before.exact(full)
    limits = resolve(budget, **baseline_costs)
    name = options.allocation
    if name not in ALLOCATIONS:  # the others validate the model, which a plan does not
        name = "knapsack"
    allocation = allocate(name, scores, after, limits, target.channel_multiple)
    baseline = _record(network, full, baseline_costs, target, "none")
    planned = _record(network, allocation.kept, allocation.costs, target, mode)
    if budget.max_accuracy_drop is not None:
        notes.append(f"Whether the accuracy drop stays within {budget.max_accuracy_drop:g} only a build can tell.")
    return PlanReport(
        target=target.name,
        criterion=options.criterion,
        baseline=baseline,
        planned=planned,
        budget=asdict(budget),
        limits=_limits(limits, baseline_costs, allocation.costs),
        layers=layer_rows(layers_of(network, before, full), layers_of(network, after, allocation.kept)),
        frozen=analysis.frozen(),
        notes=tuple(notes),
    )


def _mode(model: Any, target: Target, options: Options, notes: list[str]) -> str:
    """The mode a build would try first."""
    from edgeprune.export.modes import allowed_modes
    from edgeprune.export.serving import model_facts

    verdicts = {verdict.mode: verdict for verdict in allowed_modes(target, model_facts(model))}
    if options.quantize != "auto":
        if not verdicts[options.quantize].allowed:
            raise InputError(f"--quantize {options.quantize} can't be used: {verdicts[options.quantize].reason}")
        return options.quantize
    allowed = [mode for mode in QUANTIZE_MODES if verdicts[mode].allowed]
    if not allowed:
        raise InputError(f"no quantization mode can be used: {verdicts['none'].reason}")
    mode = max(allowed, key=lambda mode: target.cost[mode].conv_gmacs)
    if mode != "none":
        notes.append(f"Costs are those of {mode}; a build takes it only if the accuracy allows.")
    return mode


def _score_options(model: Any, train: Any, options: Options, task: Any, search_path: Path | None) -> dict[str, Any]:
    from edgeprune.importance.table import criterion
    from edgeprune.pipeline.channels import gradient_options

    chosen: dict[str, Any] = {"seed": options.seed}
    if criterion(options.criterion).needs_data:
        chosen |= gradient_options(model, train, task, options.batch_size, options.seed, search_path)
    return chosen


def _record(network: Any, kept: np.ndarray, costs: dict[str, float], target: Target, mode: str) -> ModelRecord:
    from edgeprune.cost.counts import total_macs, total_params
    from edgeprune.records.report import Latency

    return ModelRecord(
        metric=None,
        size_bytes=int(costs["size_bytes"]),
        macs=total_macs(network, kept),
        params=total_params(network, kept),
        peak_ram_bytes=int(costs["ram_bytes"]),
        latency_ms=Latency(costs["latency_ms"], "predicted", target.title, target.threads),
        quantize=mode,
    )


def _limits(limits: Any, before: dict[str, float], after: dict[str, float]) -> tuple[LimitRow, ...]:
    names = {"latency_ms": ("latency_ms", 1.0), "size_bytes": ("size_kb", 1e-3), "ram_bytes": ("ram_kb", 1e-3)}
    rows = []
    for key, limit in limits.items():
        name, scale = names[key]
        rows.append(LimitRow(name, limit * scale, before[key] * scale, after[key] * scale, after[key] <= limit))
    return tuple(rows)
