"""The strategy "auto": the dense model, fewer channels, zeros, and both, compared by cost on the target and by the
metric on the validation data. What can't win is not trained: its row says why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from edgeprune.errors import BudgetError, EdgepruneError, ValidationError
from edgeprune.export.modes import allowed_modes
from edgeprune.pipeline.aim import Aim, aim
from edgeprune.pipeline.analysis import Analysis
from edgeprune.pipeline.goal import check_feasible, closest_text, shares_left
from edgeprune.pipeline.options import SPARSE
from edgeprune.pipeline.search import Found, search
from edgeprune.pipeline.sparse_kernels import FLOAT_MODES, float_mode
from edgeprune.progress import say
from edgeprune.task.drop import drop

COSTS = ("latency_ms", "size_bytes", "ram_bytes")
DENSE, CHANNELS, ZEROS, BOTH = "dense", "fewer channels", "zeros", "zeros, fewer channels"
# Zeros that cost little accuracy in most networks, and as many as pay.
_FEW_ZEROS, _MANY_ZEROS = 0.8, 0.9
# Metrics that differ by less than this share of the allowed drop count as equal; then the faster one is better.
_SAME = 0.1
_DEFAULT_DROP = 0.01
_NOT_NEEDED = "not needed: the dense model keeps every limit"
_NO_POINTWISE = "the model has no 1x1 convolutions, which sparse kernels are for"


@dataclass(frozen=True, eq=False)
class Candidate:
    """One strategy. costs: by the names of `Limits`; of the file, or predicted. metric: None where it was not trained.

    keeps_budget: None where it was not trained. reason: why it was not, or "". aimed, found: what the report of the
    build needs, where it was trained or is the dense model that keeps the budget.
    """

    name: str
    mode: str
    costs: dict[str, float]
    metric: float | None = None
    lost: float | None = None
    reason: str = ""
    keeps_budget: bool | None = None
    aimed: Aim | None = None
    found: Found | None = None


def compare_strategies(first: Aim, analysis: Analysis) -> list[Candidate]:
    """Every strategy, the chosen one first.

    first: of the job itself, which removes channels.

    Raises:
        BudgetError: none can keep the limits.
    """
    contest = _Contest(first, analysis)
    dense = contest.dense()
    rows = [dense, contest.channels(dense)]
    rows += contest.sparse(rows)
    trained = [row for row in rows if row.metric is not None and row.found is not None]
    if not trained:
        assert contest.failure is not None
        raise contest.failure
    best = contest.best(trained)
    say(f"best for this budget: {best.name} in {best.mode}")
    return [best, *(row for row in rows if row is not best)]


def only_strategy(first: Aim, analysis: Analysis) -> list[Candidate]:
    """The one strategy that was asked for.

    Raises:
        BudgetError: it can't keep the limits.
    """
    check_feasible(first.job, analysis, first.goal)
    found = search(first.job, analysis, first.goal)
    return [_candidate_of(first.job.options.reported_strategy, first, found)]


def _candidate_of(name: str, aimed: Aim, found: Found) -> Candidate:
    export, goal = found.export, aimed.goal
    costs = {cost: float(export[cost]) for cost in COSTS}
    keeps = goal.kept(costs, export["lost"])
    return Candidate(name, goal.mode, costs, export["metric"], export["lost"], "", keeps, aimed, found)


class _Contest:
    """The candidates of one build."""

    def __init__(self, first: Aim, analysis: Analysis) -> None:
        self.first, self.analysis = first, analysis
        self.job, self.limits, self.goal = first.job, first.goal.limits, first.goal
        self.failure: EdgepruneError | None = None
        self.kept = False
        self.allocation = self.job.options.allocation

    def dense(self) -> Candidate:
        """The given model in the mode that was chosen, without pruning; it is the result where it keeps every limit."""
        dense, job = self.first.dense, self.job
        costs = {name: float(dense[name]) for name in COSTS}
        lost = drop(self.goal.baseline_metric, dense["metric"], job.task.metric.higher_is_better)
        if self.goal.kept(costs, lost):
            return self.trained(DENSE, self.first)
        return Candidate(DENSE, self.goal.mode, costs, dense["metric"], lost, keeps_budget=False)

    def channels(self, dense: Candidate) -> Candidate:
        """Fewer channels in the mode that was chosen."""
        if dense.found is not None:
            return Candidate(CHANNELS, self.goal.mode, {}, reason=_NOT_NEEDED)
        try:
            check_feasible(self.job, self.analysis, self.goal)
        except BudgetError as error:
            self.failure = error
            return Candidate(CHANNELS, self.goal.mode, error.closest, reason=str(error))
        return self.trained(CHANNELS, self.first)

    def sparse(self, rows: Sequence[Candidate]) -> list[Candidate]:
        """Zeros alone, and zeros in a slimmer model."""
        why_not = self._no_sparse_mode()
        if why_not:
            return [Candidate(name, "float16", {}, reason=why_not) for name in (ZEROS, BOTH)]
        mode = float_mode(self.job) if self.job.options.quantize == "auto" else self.job.options.quantize
        try:
            few = self._aim(mode, _FEW_ZEROS)
        except ValidationError as error:
            return [Candidate(name, mode, {}, reason=str(error)) for name in (ZEROS, BOTH)]
        if not few.goal.kernels.engaged:
            return [Candidate(name, mode, {}, reason=_NO_POINTWISE) for name in (ZEROS, BOTH)]
        if rows[0].found is not None:
            # What zeros would cost is known without training.
            return [
                Candidate(name, mode, costs, reason=_NOT_NEEDED)
                for name, costs in ((ZEROS, self._costs(few)), (BOTH, {}))
            ]
        if self.goal.over(self._costs(few)):
            many = self._aim(mode, _MANY_ZEROS)
            over = self.goal.over(self._costs(many))
            return [
                self._candidate(ZEROS, many, rows, over),
                self._both(few if not over else many, rows),
            ]
        alone = self._candidate(ZEROS, few, rows, {})
        return [alone, Candidate(BOTH, mode, {}, reason="not needed: zeros alone keep every limit of costs")]

    def _no_sparse_mode(self) -> str:
        """Why no mode of this build can run sparse kernels; "" where one can."""
        asked = self.job.options.quantize
        if asked not in ("auto", *FLOAT_MODES):
            return f"{asked} was asked for, and sparse kernels compute in float"
        verdicts = {each.mode: each for each in allowed_modes(self.job.target, self.job.facts, sparse=True)}
        wanted = verdicts[asked if asked != "auto" else float_mode(self.job)]
        return "" if wanted.allowed else wanted.reason

    def _aim(self, mode: str, sparsity: float) -> Aim:
        """The build's job with zeros, in stages of its own."""
        options = replace(
            self.job.options, strategy=SPARSE, sparsity=sparsity, quantize=mode, allocation=self.allocation
        )
        stages = self.job.stages.within(f"sparse-{sparsity:.0%}".replace("%", ""))
        job = replace(self.job, options=options, stages=stages)
        return aim(job, self.analysis, self.goal.baseline_metric, self.limits)

    def _costs(self, aimed: Aim) -> dict[str, float]:
        """Predicted with zeros and all channels."""
        dense = {name: float(aimed.dense[name]) for name in COSTS}
        shares = shares_left(self.job.model, aimed.job.options, aimed.goal.mode, dense, aimed.goal.kernels)
        return {name: cost * shares[name] for name, cost in dense.items()}

    def _candidate(self, name: str, aimed: Aim, rows: Sequence[Candidate], over: dict[str, float]) -> Candidate:
        costs, mode = self._costs(aimed), aimed.goal.mode
        if over:
            zeros = f"{aimed.job.options.final_sparsity:.0%} zeros alone"
            return Candidate(
                name, mode, costs, reason=f"{zeros} can't keep the limits: {closest_text(costs, self.limits)}"
            )
        return self._unless_beaten(name, aimed, costs, rows)

    def _both(self, aimed: Aim, rows: Sequence[Candidate]) -> Candidate:
        mode = aimed.goal.mode
        try:
            reachable = check_feasible(aimed.job, self.analysis, aimed.goal)
        except BudgetError as error:
            return Candidate(BOTH, mode, error.closest, reason=str(error))
        return self._unless_beaten(BOTH, aimed, reachable, rows)

    def _unless_beaten(self, name: str, aimed: Aim, costs: dict[str, float], rows: Sequence[Candidate]) -> Candidate:
        """Train it, unless another one is at least as good in all that can be known before."""
        for row in rows:
            lossless = row.lost is not None and row.lost <= 0 and row.keeps_budget
            if lossless and all(row.costs[cost] <= costs[cost] for cost in COSTS):
                return Candidate(
                    name,
                    aimed.goal.mode,
                    costs,
                    reason=f"not trained: {row.name} in {row.mode} loses nothing, and is as small and fast or more",
                )
        return self.trained(name, aimed)

    def trained(self, name: str, aimed: Aim) -> Candidate:
        """Run the search of one strategy."""
        say(f"strategy {name}, {aimed.goal.mode}")
        try:
            found = search(aimed.job, self.analysis, aimed.goal, patient=not self.kept)
        except ValidationError as error:  # another strategy may do
            self.failure = error
            return Candidate(name, aimed.goal.mode, {}, reason=str(error))
        row = _candidate_of(name, aimed, found)
        self.kept = self.kept or row.keeps_budget is True
        if found.allocations:
            # what spends the budget best for one strategy is not looked for again for the next
            self.allocation = found.allocations[0]["allocation"]
        return row

    def best(self, rows: Sequence[Candidate]) -> Candidate:
        """Of those that keep all limits the most accurate, of equally accurate ones the fastest; if none does, the one
        that misses them least."""
        kept = [row for row in rows if row.keeps_budget]
        if not kept:
            return min(rows, key=self._excess)
        same = _SAME * (_DEFAULT_DROP if not self.goal.max_drop else self.goal.max_drop)
        least = min(row.lost for row in kept if row.lost is not None)
        equal = [row for row in kept if row.lost is not None and row.lost <= least + same]
        return min(equal, key=lambda row: (row.costs["latency_ms"], row.costs["size_bytes"]))

    def _excess(self, row: Candidate) -> float:
        """How far the worst limit is missed, as a share of it."""
        assert row.lost is not None
        missed = [row.costs[name] / limit - 1 for name, limit in self.limits.items()]
        if self.goal.max_drop is not None:
            missed.append((row.lost - self.goal.max_drop) / max(self.goal.max_drop, _DEFAULT_DROP))
        return max(missed, default=0.0)
