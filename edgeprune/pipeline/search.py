"""From the dense model to one that keeps the budget: rounds, export, and more rounds where a limit is still missed."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgeprune.cost.model import Corrections
from edgeprune.errors import BudgetError
from edgeprune.graph.blocks import drop_blocks, find_blocks
from edgeprune.model_file import save_model
from edgeprune.pipeline.allocation import DEPTH, allocate
from edgeprune.pipeline.analysis import Analysis, analyse
from edgeprune.pipeline.artifact import Sizes, tflite_metric, write_tflite
from edgeprune.pipeline.contest import Trials, chosen
from edgeprune.pipeline.costs import plan_costs
from edgeprune.pipeline.job import Job
from edgeprune.pipeline.rounds import (
    load_stage,
    prune_round,
    train_and_record,
)
from edgeprune.pipeline.rows import cost_rows
from edgeprune.plan.limits import Limits, between
from edgeprune.task.drop import drop
from edgeprune.validate.parity import check_parity

# After the planned rounds: how often a limit that the real file still misses is tried again.
_EXTRA_ROUNDS = 2
# How many times the usual epochs a round of training alone takes.
_PATIENT = 3


@dataclass(frozen=True)
class Goal:
    """What has to be reached: cost limits, the accuracy limit and the mode they are meant in."""

    limits: Limits
    mode: str
    corrections: Corrections
    baseline_metric: float
    max_drop: float | None


@dataclass(frozen=True)
class Found:
    """The last candidate: its stage, exported file and what was measured of it."""

    stage: str
    export: dict[str, Any]
    rounds: tuple[dict[str, Any], ...]
    allocations: tuple[dict[str, Any], ...]


def check_feasible(job: Job, analysis: Analysis, goal: Goal) -> None:
    """Refuse a budget that no plan can meet, before anything is trained.

    Raises:
        BudgetError: names the smallest costs that pruning can reach and the limits that stop it.
    """
    scores = tuple(np.ones(len(units)) for units in analysis.groups.units)
    costs = plan_costs(analysis.network, job.target, goal.mode, goal.corrections)
    allocation = allocate("greedy", scores, costs, goal.limits, job.target.channel_multiple)
    if allocation.missed:
        raise BudgetError(
            f"the budget can't be met by pruning channels: {closest_text(allocation.costs, goal.limits)}; "
            f"every group is at its smallest ({job.target.channel_multiple} channels). Allow more{_whose(job)}, "
            "or change the model",
            allocation.costs,
        )


def _whose(job: Job) -> str:
    """Where the limits come from when the user set none."""
    if not job.default_budget:
        return ""
    return f" (these limits are the default budget of {job.target.name}: set --latency-ms, --size-kb or --ram-kb)"


def closest_text(costs: dict[str, float], limits: Limits) -> str:
    """The limits that are missed, with the closest values reached."""
    words = {"latency_ms": "ms latency", "size_kb": "kB file size", "ram_kb": "kB RAM"}
    missed = [row for row in cost_rows(limits, costs, costs) if not row.met]
    return "; ".join(f"closest {row.result:.4g} {words[row.name]}, limit {row.limit:.4g}" for row in missed)


def search(job: Job, analysis: Analysis, goal: Goal) -> Found:
    """Prune in rounds of shrinking limits, export, and correct what the real file still misses."""
    costs = plan_costs(analysis.network, job.target, goal.mode, goal.corrections).exact(analysis.network.full)
    rounds: list[dict[str, Any]] = []
    stage, model = "", job.model
    needs_pruning = any(costs[name] > limit for name, limit in goal.limits.items())
    planned = job.options.rounds if needs_pruning else 0
    trials: list[dict[str, Any]] = []
    allocation = ""
    if planned:
        halfway = Trials(job, analysis, goal.mode, goal.corrections, between(costs, goal.limits, 0.5))
        trials = chosen(job.stages.run, halfway)
        allocation = trials[0]["allocation"]
        if allocation == DEPTH:
            allocation = "knapsack"
            stage, model = _dropped(job, analysis, trials[0]["dropped"])
    for number in range(1, planned + 1):
        limits = between(costs, goal.limits, number / planned)
        stage, model = _round(job, model, limits, allocation, goal, number, planned, rounds)
    found = _export(job, model, goal, len(rounds))
    goal_limits = goal.limits
    for _ in range(_EXTRA_ROUNDS if planned else 0):
        over = {name: found[name] / limit for name, limit in goal.limits.items() if found[name] > limit}
        number = len(rounds) + 1
        if over:
            # The real file is larger than predicted: ask for that much less.
            goal_limits = replace(
                goal_limits, **{name: getattr(goal_limits, name) / factor for name, factor in over.items()}
            )
            stage, model = _round(job, model, goal_limits, allocation, goal, number, number, rounds)
        elif goal.max_drop is not None and found["lost"] > goal.max_drop and job.options.epochs:
            stage, model = _more_training(job, model, goal, number, rounds)
        else:
            break
        found = _export(job, model, goal, len(rounds))
    return Found(stage, found, tuple(rounds), tuple(trials))


def _dropped(job: Job, analysis: Analysis, names: list[str]) -> tuple[str, Any]:
    """The dense model without the named residual blocks, as a stage of its own."""

    def work(folder: Path) -> dict[str, Any]:
        blocks = [block for block in find_blocks(job.model) if block.name in names]
        save_model(drop_blocks(job.model, analysis.trace, blocks), folder / "model.keras")
        return {"dropped": names}

    job.stages.run("depth", work)
    return "depth", load_stage(job, job.stages.path("depth", "model.keras"))


def _round(
    job: Job,
    model: Any,
    limits: Limits,
    allocation: str,
    goal: Goal,
    number: int,
    planned: int,
    rounds: list[dict[str, Any]],
) -> tuple[str, Any]:
    name, title = f"round-{number}", f"round {number} of {planned}"
    seed = job.options.seed + 1000 * number

    def work(folder: Path) -> dict[str, Any]:
        return prune_round(job, model, limits, allocation, goal.mode, goal.corrections, title, seed, folder)

    rounds.append(job.stages.run(name, work))
    # kept until the stage is recorded: a run killed just before must not train again
    job.stages.path(name, "training.npz").unlink(missing_ok=True)
    return name, load_stage(job, job.stages.path(name, "model.keras"))


def _more_training(job: Job, model: Any, goal: Goal, number: int, rounds: list[dict[str, Any]]) -> tuple[str, Any]:
    name, title = f"round-{number}", f"round {number}, training only"
    seed = job.options.seed + 1000 * number

    def work(folder: Path) -> dict[str, Any]:
        # Training as before has not been enough.
        epochs = _PATIENT * job.options.epochs
        return train_and_record(job, model, goal.mode, goal.corrections, title, seed, folder, epochs)

    rounds.append(job.stages.run(name, work))
    # kept until the stage is recorded: a run killed just before must not train again
    job.stages.path(name, "training.npz").unlink(missing_ok=True)
    return name, load_stage(job, job.stages.path(name, "model.keras"))


def _export(job: Job, model: Any, goal: Goal, number: int) -> dict[str, Any]:
    """Convert and judge the model of a round; everything the budget asks of the file."""

    def work(folder: Path) -> dict[str, Any]:
        path = folder / "model.tflite"
        sizes: Sizes = write_tflite(job, model, goal.mode, path)
        metric = tflite_metric(job, path)
        network = analyse(model).network
        latency = float(plan_costs(network, job.target, goal.mode).model.latency_ms(network.full))
        parity = check_parity(model, path, job.data.validation.inputs(64), goal.mode)
        return {
            "metric": metric,
            "lost": drop(goal.baseline_metric, metric, job.task.metric.higher_is_better),
            "latency_ms": latency,
            "parity": asdict(parity),
            **asdict(sizes),
        }

    return {"stage": f"export-{number}", **job.stages.run(f"export-{number}", work)}
