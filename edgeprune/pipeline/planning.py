"""`make_plan`: what a build would cut and what that should cost. Trains nothing, writes nothing."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeprune.errors import InputError
from edgeprune.pipeline.options import Options
from edgeprune.pipeline.prepare import check_arguments, check_type, start_tensorflow, with_defaults
from edgeprune.records.network import Network
from edgeprune.records.report import FrozenRow, LayerRow, LimitRow, ModelRecord
from edgeprune.target import Budget, Target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeprune.cost.model import Corrections
    from edgeprune.export.modes import ModelFacts
    from edgeprune.pipeline.sparse_kernels import SparseKernels
    from edgeprune.plan.limits import Limits


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
    target: Target | str | Path,
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
    target = check_arguments("make_plan", target, budget, options)
    start_tensorflow()
    if isinstance(model, (str, Path)):
        from edgeprune.model_file import load_model

        model = load_model(model, allow_lambda=allow_lambda)
    notes = []
    if train is None and options.criterion == "taylor":
        options = replace(options, criterion="l1")
        notes.append('Without data channels are ranked by "l1"; a build ranks them by "taylor".')
    import keras

    check_type("make_plan", "model", model, keras.Model, "a keras.Model, or the path of a .keras or .h5 file")
    budget = with_defaults(budget, target)
    return _plan(model, target, train, budget, options, task, search_path, allow_lambda, notes)


def _plan(
    model: Any,
    target: Target,
    train: Any,
    budget: Budget,
    options: Options,
    task: Any,
    search_path: Path | None,
    allow_lambda: bool,
    notes: list[str],
) -> PlanReport:
    import keras

    from edgeprune.pipeline.allocation import ALLOCATIONS, allocate
    from edgeprune.pipeline.analysis import analyse
    from edgeprune.pipeline.costs import plan_costs
    from edgeprune.pipeline.goal import shares_left, with_zeros, without_zeros
    from edgeprune.pipeline.kernels import layer_zeros, planned_kernels
    from edgeprune.pipeline.rows import cost_rows, layer_rows, layers_of, model_record
    from edgeprune.pipeline.sparse_kernels import FLOAT_MODES, speed_from_zeros
    from edgeprune.plan.limits import resolve

    keras.utils.set_random_seed(options.seed)
    analysis = analyse(model)
    network, full = analysis.network, analysis.network.full
    scores = analysis.scores(
        options.criterion,
        aggregate=options.aggregate,
        normalize=options.normalize,
        **_score_options(model, train, options, task, search_path),
    )
    with tempfile.TemporaryDirectory(prefix="edgeprune-") as name:
        folder = Path(name)
        before = plan_costs(network, target, "none", _corrections(model, network, target, "none", folder))
        baseline_costs = before.exact(full)
        limits = resolve(budget, **baseline_costs)
        kernels = _kernels(model, target, options, folder, allow_lambda)
        mode = _mode(model, network, target, options, limits, kernels, notes)
        # What is not weights (graph, names, metadata) takes about the same bytes in every mode, and RAM and time scale.
        corrections = replace(before.model.corrections, ram_bytes=0)
        if options.pattern is not None and mode == "float16":
            # With few values left the rest counts; this mode needs no data, so that it can be looked at.
            corrections = _corrections(model, network, target, mode, folder)
    after = before if mode == "none" else plan_costs(network, target, mode, corrections)
    name = options.allocation
    if name not in ALLOCATIONS:  # the others validate the model, which a plan does not
        name = "knapsack"
        notes.append(f'Channels are allocated by "{name}"; a build decides "{options.allocation}" by validation.')
    shares = shares_left(model, options, mode, after.exact(full), kernels)
    kept = allocate(name, scores, after, without_zeros(limits, shares), target.channel_multiple).kept
    costs = after.exact(kept)
    zeros_before = layer_zeros(analysis)
    zeros_after = zeros_before
    if options.pattern is not None:
        smaller = analysis if np.array_equal(kept, full) else analyse(analysis.shrink(scores, kept))
        stored = planned_kernels(smaller.model, options.pattern, options.final_sparsity)
        zeros_after = layer_zeros(smaller, stored)
        costs = with_zeros(costs, stored.values(), mode, kernels.share(mode))
        engaged = kernels.engaged and mode in FLOAT_MODES
        speed = speed_from_zeros(target, engaged, kernels.reason, "predicted from a file")
        notes.append(f"{options.reported_strategy}: {speed}")
    baseline = model_record(network, full, baseline_costs, target, "none", zeros=zeros_before)
    planned = model_record(network, kept, costs, target, mode, zeros=zeros_after)
    if budget.max_accuracy_drop is not None:
        notes.append(f"Whether the accuracy drop stays within {budget.max_accuracy_drop:g} only a build can tell.")
    return PlanReport(
        target=target.name,
        criterion=options.criterion,
        baseline=baseline,
        planned=planned,
        budget=asdict(budget),
        limits=cost_rows(limits, baseline_costs, costs),
        layers=layer_rows(layers_of(network, before, full, zeros_before), layers_of(network, after, kept, zeros_after)),
        frozen=analysis.frozen(),
        notes=tuple(notes),
    )


def _corrections(model: Any, network: Network, target: Target, mode: str, folder: Path) -> Corrections:
    """What the predictions for a dense model miss, by converting it. mode: one that needs no data."""
    from edgeprune.atomic import write_bytes
    from edgeprune.export.convert import convert
    from edgeprune.pipeline.artifact import file_latency_ms, sizes_of
    from edgeprune.pipeline.costs import corrections_from

    path = folder / f"{mode}.tflite"
    write_bytes(path, convert(model, mode))
    sizes = sizes_of(path)
    return corrections_from(network, target, mode, sizes.size_bytes, sizes.ram_bytes, file_latency_ms(target, path))


@dataclass(frozen=True)
class _Ships:
    """What a plan knows of a file: `edgeprune.pipeline.artifact.Ships` without data."""

    target: Target
    facts: ModelFacts

    def representative(self) -> Sequence[list[np.ndarray]]:
        """No plan calibrates."""
        raise AssertionError("a plan looks at float modes only")


def _kernels(model: Any, target: Target, options: Options, folder: Path, allow_lambda: bool) -> SparseKernels:
    """What zeros do for speed; none.tflite in `folder` is the dense file."""
    from edgeprune.export.serving import model_facts
    from edgeprune.pipeline.sparse_kernels import NO_KERNELS, float_mode, look_for_sparse_kernels

    if options.pattern is None:
        return NO_KERNELS
    ships = _Ships(target, model_facts(model))
    return look_for_sparse_kernels(
        ships, model, options, float_mode(ships), folder / "none.tflite", folder, allow_lambda
    )


def _mode(
    model: Any,
    network: Network,
    target: Target,
    options: Options,
    limits: Limits,
    kernels: SparseKernels,
    notes: list[str],
) -> str:
    """The mode a build would try first."""
    from edgeprune.export.modes import allowed_modes
    from edgeprune.export.serving import model_facts
    from edgeprune.pipeline.precision import preferred

    # Without data int8 is planned for all the same: a build has data.
    found = allowed_modes(target, model_facts(model), sparse=options.pattern is not None)
    verdicts = {verdict.mode: verdict for verdict in found}
    if options.quantize != "auto":
        if not verdicts[options.quantize].allowed:
            raise InputError(f"--quantize {options.quantize} can't be used: {verdicts[options.quantize].reason}")
        return options.quantize
    allowed = [mode for mode in preferred(model, network, target, options, limits, kernels) if verdicts[mode].allowed]
    if not allowed:
        raise InputError(f"no quantization mode can be used: {verdicts['none'].reason}")
    if allowed[0] != "none":
        notes.append(f"Costs are those of {allowed[0]}; a build takes it only if the accuracy allows.")
    return allowed[0]


def _score_options(model: Any, train: Any, options: Options, task: Any, search_path: Path | None) -> dict[str, Any]:
    from edgeprune.importance.table import criterion
    from edgeprune.pipeline.channels import gradient_options

    chosen: dict[str, Any] = {"seed": options.seed}
    if criterion(options.criterion).needs_data:
        chosen |= gradient_options(model, train, task, options.batch_size, options.seed, search_path)
    return chosen
