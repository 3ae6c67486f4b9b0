"""What `find_ticket` returns: sparsity and accuracy of each round, and the way back to its weights."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgeprune.errors import InputError
from edgeprune.sparsity.schedules.checks import is_number, received
from edgeprune.sparsity.tickets.records import Record, Records
from edgeprune.sparsity.tickets.state import assign
from edgeprune.task.drop import drop


@dataclass(frozen=True)
class TicketRound:
    """One training of the search.

    number: 0 is the dense model. sparsity: share of pruned weights over all that take part. weights_left: how many of
    them are not pruned. metrics: the last value of each metric. metric, value: the one that the round is judged by.
    """

    number: int
    sparsity: float
    weights_left: int
    metrics: dict[str, float]
    metric: str
    value: float


@dataclass(frozen=True)
class TicketReport:
    """The rounds of a search, the dense one first.

    weights: how many take part. mode, rewind_to, fraction, criterion, pattern, scope, seed: of the search.
    higher_is_better: whether it is for the metric; guessed from its name.
    """

    rounds: tuple[TicketRound, ...]
    weights: int
    higher_is_better: bool
    mode: str
    rewind_to: str
    fraction: float
    criterion: str
    pattern: str
    scope: str
    seed: int
    records: Records = field(repr=False, compare=False)

    def drop(self, number: int) -> float:
        """How much worse a round is than the dense one, negative when it is better: the difference of the metric or,
        where lower is better, its relative increase."""
        return drop(self.rounds[0].value, self._round(number).value, self.higher_is_better)

    def best(self, max_drop: float = 0.0) -> TicketRound:
        """The sparsest round whose drop is at most `max_drop`; the dense round where no other is.

        Raises:
            InputError: `max_drop` is no number.
        """
        if not is_number(max_drop) or math.isnan(max_drop):
            raise InputError(f"TicketReport.best: max_drop must be a number, received {received(max_drop)}")
        good = [one for one in self.rounds[1:] if self.drop(one.number) <= max_drop]
        return max(good, key=lambda one: one.sparsity, default=self.rounds[0])

    def table(self) -> str:
        """The rounds as text."""
        metric = self.rounds[0].metric
        name, width = max(len(metric), 10), max(len(f"{self.weights:,}"), len("weights left"))
        lines = [f"{'round':>5}  {'weights left':>{width}}  {'sparsity':>8}  {metric:>{name}}  {'drop':>8}"]
        lines.append("-" * len(lines[0]))
        lines += [
            f"{one.number:>5}  {one.weights_left:>{width},}  {one.sparsity:>8.2%}  {one.value:>{name}.4f}  "
            f"{self.drop(one.number):>8.4f}"
            for one in self.rounds
        ]
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary; a value that isn't finite is None."""
        rounds = [
            {
                "number": one.number,
                "sparsity": one.sparsity,
                "weights_left": one.weights_left,
                "metrics": {name: _finite(value) for name, value in one.metrics.items()},
                "metric": one.metric,
                "value": _finite(one.value),
            }
            for one in self.rounds
        ]
        settings = ("mode", "rewind_to", "fraction", "criterion", "pattern", "scope", "seed")
        return {
            "schema": 1,
            **{name: getattr(self, name) for name in settings},
            "weights": self.weights,
            "higher_is_better": self.higher_is_better,
            "rounds": rounds,
        }

    def restore(self, model: Any, number: int) -> Any:
        """Load the trained weights of a round and attach its masks; returns the model.

        The optimizer stays as it is. The rounds come from the search's folder; without one they are held in memory, the
        model's variables once a round, as long as this report lives.

        Raises:
            InputError: there is no such round, it can't be read, or the model is another one.
        """
        from edgeprune.sparsity.masks import MaskSet

        record = self.records.get(round_name(self._round(number).number))
        arrays, variables = record.groups["variables"], model.variables
        if [array.shape for array in arrays] != [tuple(variable.shape) for variable in variables]:
            raise InputError(
                f'TicketReport.restore: the model "{model.name}" has other variables than the one of the search; build '
                "it with the same code"
            )
        kernels = [variables[n] for n in record.document["kernels"]]
        masks = MaskSet(model, [(kernel.path, kernel) for kernel in kernels])
        masks.assign(unpacked(record, "keep"))
        assign(variables, arrays)
        return model

    def _round(self, number: int) -> TicketRound:
        if isinstance(number, bool) or number not in range(len(self.rounds)):
            raise InputError(
                f"there is no round {received(number)}; the search has rounds 0 (dense) to {len(self.rounds) - 1}"
            )
        return self.rounds[number]


def round_name(number: int) -> str:
    """What the record of a round is called."""
    return f"round_{number:03}"


def packed(masks: list[np.ndarray]) -> tuple[np.ndarray, ...]:
    """Masks at one bit a weight."""
    return tuple(np.packbits(mask) for mask in masks)


def unpacked(record: Record, group: str) -> list[np.ndarray]:
    """The inverse of `packed`: bool arrays of the kernels' shapes, True = kept."""
    shapes = [record.groups["variables"][n].shape for n in record.document["kernels"]]
    return [
        np.unpackbits(bits, count=int(np.prod(shape, dtype=np.int64))).astype(bool).reshape(shape)
        for bits, shape in zip(record.groups[group], shapes, strict=True)
    ]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
