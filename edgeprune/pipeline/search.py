"""From the dense model to one that keeps the budget: rounds that remove channels, a sparse round where the strategy has
one, export, and more rounds where a limit is still missed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from edgeprune.cost.sparse_encoding import saved_bytes
from edgeprune.graph.blocks import drop_blocks, find_blocks
from edgeprune.model_file import save_model
from edgeprune.pipeline.allocation import DEPTH
from edgeprune.pipeline.analysis import Analysis
from edgeprune.pipeline.artifact import sparse_inference, tflite_metric, write_tflite
from edgeprune.pipeline.contest import Trials, chosen
from edgeprune.pipeline.costs import plan_costs
from edgeprune.pipeline.goal import Goal, shares_left, without_zeros
from edgeprune.pipeline.job import Job
from edgeprune.pipeline.kernels import planned_kernels, stored_kernels
from edgeprune.pipeline.measure import running_costs
from edgeprune.pipeline.options import SPARSE
from edgeprune.pipeline.rounds import load_stage, prune_round, train_and_record
from edgeprune.pipeline.sparse import sparse_round, train_frozen
from edgeprune.pipeline.sparse_kernels import FLOAT_MODES, check_engaged, laid_out
from edgeprune.plan.limits import Limits, between
from edgeprune.task.drop import drop
from edgeprune.tflite.inspect import inspect
from edgeprune.validate.parity import check_parity

# After the planned rounds: how often a limit that the real file still misses is tried again.
_EXTRA_ROUNDS = 2
# How much less is asked for than the file is over: widths come in steps, and the same plan would miss again.
_MARGIN = 1.01
# How many times the usual epochs a round of training alone takes.
_PATIENT = 3
# More zeros than this cost more accuracy than removing channels does.
MAX_SPARSITY = 0.95


@dataclass(frozen=True)
class Found:
    """The last candidate: its stage, exported file and what was measured of it."""

    stage: str
    export: dict[str, Any]
    rounds: tuple[dict[str, Any], ...]
    allocations: tuple[dict[str, Any], ...]


def search(job: Job, analysis: Analysis, goal: Goal, *, patient: bool = True) -> Found:
    """Prune in rounds of shrinking limits, make sparse, export, and correct what the real file still misses.

    patient: train on where the accuracy is missed; not worth it where another strategy keeps the budget already.
    """
    found = _Search(job, analysis, goal)
    found.cut()
    if job.options.pattern is not None:
        found.sparsify(job.options.final_sparsity)
    export = found.export()
    for _ in range(_EXTRA_ROUNDS if found.rounds else 0):
        over = goal.over(export)
        if over:
            found.shrink(over, export)
        elif patient and goal.max_drop is not None and export["lost"] > goal.max_drop and job.options.epochs:
            found.train_more()
        else:
            break
        export = found.export()
    return Found(found.stage, export, tuple(found.rounds), tuple(found.trials))


class _Search:
    """A search under way. `stage` and `model` are the last candidate, `dense` the last one that has no zeros made."""

    def __init__(self, job: Job, analysis: Analysis, goal: Goal) -> None:
        self.job, self.analysis, self.goal = job, analysis, goal
        self.rounds: list[dict[str, Any]] = []
        self.trials: list[dict[str, Any]] = []
        self.stage, self.model = "", job.model
        self.dense = job.model
        self.sparsity = 0.0
        self.allocation = ""
        self.costs = plan_costs(analysis.network, job.target, goal.mode, goal.corrections).exact(analysis.network.full)
        shares = shares_left(job.model, job.options, goal.mode, self.costs, goal.kernels)
        self.limits = without_zeros(goal.limits, shares)

    def cut(self) -> None:
        """Remove channels in rounds until the limits are met by prediction."""
        if not any(self.costs[name] > limit for name, limit in self.limits.items()):
            return
        planned = self.job.options.rounds
        self._choose_allocation()
        for number in range(1, planned + 1):
            self._cut_round(between(self.costs, self.limits, number / planned), f"{number} of {planned}")

    def _choose_allocation(self) -> None:
        job = self.job
        halfway = Trials(
            job, self.analysis, self.goal.mode, self.goal.corrections, between(self.costs, self.limits, 0.5)
        )
        self.trials = chosen(job.stages.run, halfway)
        self.allocation = self.trials[0]["allocation"]
        if self.allocation == DEPTH:
            self.allocation = "knapsack"
            self.stage, self.model = _dropped(job, self.analysis, self.trials[0]["dropped"])

    def _cut_round(self, limits: Limits, which: str) -> None:
        job, goal, model, allocation = self.job, self.goal, self.model, self.allocation
        self._round(
            f"round {which}",
            lambda title, seed, folder: prune_round(
                job, model, limits, allocation, goal.mode, goal.corrections, title, seed, folder
            ),
        )
        self.dense = self.model

    def sparsify(self, sparsity: float) -> None:
        """Make the last candidate sparse, or sparser."""
        job, goal, initial = self.job, self.goal, self.sparsity
        model = laid_out(self.model, goal.kernels)
        self._round(
            f"sparse round, {sparsity:.0%} zeros",
            lambda title, seed, folder: sparse_round(
                job, model, sparsity, initial, goal.mode, goal.corrections, title, seed, folder
            ),
        )
        self.sparsity = sparsity

    def shrink(self, over: dict[str, float], export: dict[str, Any]) -> None:
        """The real file is larger than predicted: ask for that much less, of zeros first where they are enough."""
        job = self.job
        if job.options.strategy == SPARSE and self.sparsity and set(over) == {"size_bytes"}:
            more = self._sparser(export["size_bytes"])
            if more is not None:
                self.sparsify(more)
                return
        self.limits = replace(
            self.limits, **{name: getattr(self.limits, name) / (factor * _MARGIN) for name, factor in over.items()}
        )
        self.model = self.dense  # channels are chosen and trained without masks
        if not self.allocation:
            self._choose_allocation()
        self._cut_round(self.limits, f"{len(self.rounds) + 1}")
        if job.options.pattern is not None:
            self.sparsity = 0.0
            self.sparsify(job.options.final_sparsity)

    def _sparser(self, size_bytes: float) -> float | None:
        """The least sparsity, in whole per cent, at which the file should keep its limit; None above MAX_SPARSITY."""
        limit = self.goal.limits.size_bytes
        assert limit is not None
        saved = saved_bytes(stored_kernels(self.model).values(), self.goal.mode)
        for percent in range(int(self.sparsity * 100) + 1, int(MAX_SPARSITY * 100) + 1):
            kernels = planned_kernels(self.model, "unstructured", percent / 100)
            if size_bytes - (saved_bytes(kernels.values(), self.goal.mode) - saved) <= limit:
                return percent / 100
        return None

    def train_more(self) -> None:
        """Train the last candidate on: as many epochs as before have not been enough."""
        job, goal, model, epochs = self.job, self.goal, self.model, _PATIENT * self.job.options.epochs
        train = train_frozen if self.sparsity else train_and_record
        self._round(
            f"round {len(self.rounds) + 1}, training only",
            lambda title, seed, folder: train(job, model, goal.mode, goal.corrections, title, seed, folder, epochs),
        )

    def _round(self, title: str, work: Callable[[str, int, Path], dict[str, Any]]) -> None:
        """Run a round as a stage; its model is the next candidate."""
        job, number = self.job, len(self.rounds) + 1
        self.stage, seed = f"round-{number}", job.options.seed + 1000 * number
        self.rounds.append(job.stages.run(self.stage, lambda folder: work(title, seed, folder)))
        # kept until the stage is recorded: a run killed just before must not train again
        for name in ("training.npz", "ramp.npz", "start.keras"):
            job.stages.path(self.stage, name).unlink(missing_ok=True)
        self.model = load_stage(job, job.stages.path(self.stage, "model.keras"))

    def export(self) -> dict[str, Any]:
        """Convert and judge the last candidate; everything the budget asks of the file."""
        name = f"export-{len(self.rounds)}"
        job, goal, model = self.job, self.goal, self.model

        def work(folder: Path) -> dict[str, Any]:
            path = folder / "model.tflite"
            sizes = write_tflite(job, model, goal.mode, path, sparse=job.options.pattern is not None)
            metric = tflite_metric(job, path)
            parity = check_parity(model, path, job.data.validation.inputs(64), goal.mode)
            return {
                "metric": metric,
                "lost": drop(goal.baseline_metric, metric, job.task.metric.higher_is_better),
                "parity": asdict(parity),
                "zero_fraction": inspect(path).zero_fraction,
                "sparse_inference": self._sparse_inference(path, sizes.passed_over),
                **asdict(sizes),
                **running_costs(job, path),
            }

        export = job.stages.run(name, work)
        sparse = export["sparse_inference"]
        if sparse is not None and goal.mode in FLOAT_MODES:
            check_engaged(job, sparse["verdict"], sparse["reason"])
        return {"stage": name, **export}

    def _sparse_inference(self, path: Path, passed_over: str) -> dict[str, Any] | None:
        """What is predicted of the file; why its best form could not be shipped says more than what stops another."""
        if self.job.options.pattern is None:
            return None
        found = sparse_inference(self.job.target, path)
        return found | {"reason": passed_over or found["reason"]}


def _dropped(job: Job, analysis: Analysis, names: list[str]) -> tuple[str, Any]:
    """The dense model without the named residual blocks, as a stage of its own."""

    def work(folder: Path) -> dict[str, Any]:
        blocks = [block for block in find_blocks(job.model) if block.name in names]
        save_model(drop_blocks(job.model, analysis.trace, blocks), folder / "model.keras")
        return {"dropped": names}

    job.stages.run("depth", work)
    return "depth", load_stage(job, job.stages.path("depth", "model.keras"))
