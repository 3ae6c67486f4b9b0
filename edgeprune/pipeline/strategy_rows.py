"""The strategies that "auto" compared, as the report shows them."""

from __future__ import annotations

from collections.abc import Sequence

from edgeprune.pipeline.job import Job
from edgeprune.pipeline.strategies import DENSE, Candidate
from edgeprune.records.report import Metric, StrategyTrial


def strategy_trials(job: Job, candidates: Sequence[Candidate]) -> tuple[StrategyTrial, ...]:
    """One row per strategy, the chosen one first; none where the user named the strategy."""
    if len(candidates) == 1:
        return ()
    return tuple(_row(job, row, chosen=number == 0) for number, row in enumerate(candidates))


def _row(job: Job, row: Candidate, *, chosen: bool) -> StrategyTrial:
    metric = job.task.metric
    size, ram = row.costs.get("size_bytes"), row.costs.get("ram_bytes")
    reason = row.reason or _why(row, chosen)
    return StrategyTrial(
        strategy=row.name,
        quantize=row.mode,
        metric=None if row.metric is None else Metric(metric.name, row.metric, metric.higher_is_better),
        latency_ms=row.costs.get("latency_ms"),
        size_bytes=None if size is None else round(size),
        peak_ram_bytes=None if ram is None else round(ram),
        keeps_budget=row.keeps_budget,
        chosen=chosen,
        reason=reason,
    )


def _why(row: Candidate, chosen: bool) -> str:
    if chosen:
        return "the best that keeps the budget" if row.keeps_budget else "misses the budget least"
    return "keeps the budget, but is not better" if row.keeps_budget else "misses the budget"


def strategy_notes(candidates: Sequence[Candidate]) -> list[str]:
    """What a user should know of the comparison: above all, that pruning was not worth it."""
    best = candidates[0]
    if len(candidates) == 1 or best.name != DENSE:
        return []
    others = [row.name for row in candidates[1:] if row.metric is not None]
    compared = f" It was compared with {' and '.join(others)}." if others else " No other strategy had to be trained."
    return [f"Plain {best.mode} wins: without losing a weight it keeps the budget.{compared}"]
