"""Limits of a plan in absolute numbers."""

from __future__ import annotations

from dataclasses import dataclass

from edgeprune.target import Budget


@dataclass(frozen=True)
class Limits:
    """Upper limits for predicted costs; None where there is none."""

    latency_ms: float | None = None
    size_bytes: float | None = None
    ram_bytes: float | None = None

    def items(self) -> list[tuple[str, float]]:
        """(cost name, limit) of the limits that are set."""
        pairs = (("latency_ms", self.latency_ms), ("size_bytes", self.size_bytes), ("ram_bytes", self.ram_bytes))
        return [(name, limit) for name, limit in pairs if limit is not None]


def resolve(budget: Budget, latency_ms: float, size_bytes: float, ram_bytes: float) -> Limits:
    """Turn a budget's absolute limits and ratios to the given baseline into limits; the tighter one counts."""

    def tighter(absolute: float | None, ratio: float | None, baseline: float) -> float | None:
        found = [absolute] if absolute is not None else []
        if ratio is not None:
            found.append(ratio * baseline)
        return min(found) if found else None

    kb = 1000
    return Limits(
        tighter(budget.latency_ms, budget.latency_ratio, latency_ms),
        tighter(None if budget.size_kb is None else budget.size_kb * kb, budget.size_ratio, size_bytes),
        tighter(None if budget.ram_kb is None else budget.ram_kb * kb, budget.ram_ratio, ram_bytes),
    )


def between(start: dict[str, float], limits: Limits, fraction: float) -> Limits:
    """Limits part of the way from `start` to `limits`, on a geometric scale; fraction 1 gives `limits`."""
    found = {}
    for name, limit in limits.items():
        begin = max(start[name], limit)
        found[name] = begin ** (1 - fraction) * limit**fraction  # exact at both ends
    return Limits(**found)
