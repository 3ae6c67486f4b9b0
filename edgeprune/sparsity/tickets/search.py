"""The arguments of `find_ticket`, checked, and whether a folder holds the rounds of the same call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edgeprune.errors import InputError, nearest
from edgeprune.sparsity.criteria.base import Criterion
from edgeprune.sparsity.criteria.table import as_criterion
from edgeprune.sparsity.masks import MaskConstraint
from edgeprune.sparsity.patterns import CHANNELS, parse_pattern
from edgeprune.sparsity.ranking import WeightRanking
from edgeprune.sparsity.schedules.checks import check_count, is_number, received
from edgeprune.sparsity.selection import select
from edgeprune.sparsity.tickets.fit_call import FitCall, as_fit_call
from edgeprune.sparsity.tickets.metric import name_of
from edgeprune.sparsity.tickets.point import RewindPoint, parse_point
from edgeprune.sparsity.tickets.state import built_optimizer
from edgeprune.sparsity.weights import prunable_weights

MODES = ("weights", "learning_rate")
SCOPES = ("layer", "global")
_WHERE = "find_ticket"


@dataclass(frozen=True, eq=False)
class Search:
    """What was asked for. kernels: numbers of the pruned kernels among the model's variables."""

    model: Any
    fit: FitCall
    rounds: int
    fraction: float
    point: RewindPoint
    mode: str
    criterion: Criterion
    pattern: str
    scope: str
    ranking: WeightRanking
    kernels: tuple[int, ...]
    least: int
    evaluate: Callable[[Any], float] | None
    seed: int

    def sparsity(self, number: int) -> float:
        """The share of weights that is gone in a round: 1 - (1 - fraction)^round."""
        return 1.0 - (1.0 - self.fraction) ** number

    def settings(self) -> dict[str, Any]:
        """What must be the same when a search is continued, as JSON can say it."""
        optimizer = built_optimizer(self.model)
        return {
            "rounds": self.rounds,
            "fraction": self.fraction,
            "rewind_to": str(self.point),
            "mode": self.mode,
            "criterion": repr(self.criterion),
            "pattern": self.pattern,
            "scope": self.scope,
            "min_weights": self.least,
            "evaluate": None if self.evaluate is None else name_of(self.evaluate),
            "seed": self.seed,
            "the variables of the model:": [_described(variable) for variable in self.model.variables],
            "the optimizer:": f"{type(optimizer).__name__} with {len(optimizer.variables)} variables",
            "the kernels of include and exclude:": list(self.kernels),
        }

    def check_same(self, recorded: dict[str, Any], folder: Any) -> None:
        """Refuse to continue another search.

        Raises:
            InputError: names the first difference.
        """
        for name, now in self.settings().items():
            before = recorded.get(name)
            if before != now:
                if isinstance(now, list) and isinstance(before, list):
                    before, now = _first_difference(before, now)
                raise InputError(
                    f"{_WHERE}: folder={str(folder)!r} holds another search, with {name} {before!r} instead of "
                    f"{now!r}; repeat the call with the same arguments and model, or give another folder"
                )

    def check_dense(self) -> None:
        """Refuse a model with masks: its pruned weights would stay zero in the dense round.

        Raises:
            InputError: a kernel has pruned weights.
        """
        for weight in self.ranking.scored:
            constraint = weight.variable.constraint
            if isinstance(constraint, MaskConstraint) and not constraint.mask.numpy().all():
                raise InputError(
                    f'{_WHERE}: "{weight.path}" has pruned weights already, and a search begins with the dense model; '
                    "build the model anew, or call edgeprune.unfreeze_sparsity(model) to let its zeros train"
                )


def checked(
    model: Any,
    fit: Any,
    rounds: Any,
    fraction: Any,
    rewind_to: Any,
    *,
    mode: Any,
    criterion: Any,
    pattern: Any,
    scope: Any,
    include: Any,
    exclude: Any,
    min_weights: Any,
    evaluate: Any,
    seed: Any,
) -> Search:
    """The arguments of `find_ticket`, before anything is trained.

    Raises:
        InputError: for the first that can't be used.
    """
    point = parse_point(rewind_to)
    check_count(f"{_WHERE}: rounds", rounds, "prunings")
    if not is_number(fraction) or not 0 < fraction < 1:
        raise InputError(
            f"{_WHERE}: fraction must be above 0 and below 1 (0.2: 20 % of what is left), received {received(fraction)}"
        )
    for name, value, allowed in (("mode", mode, MODES), ("scope", scope, SCOPES)):
        if value not in allowed:
            raise InputError(f"{_WHERE}: unknown {name} {value!r}; {nearest(str(value), allowed)}")
    for name, value in (("min_weights", min_weights), ("seed", seed)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise InputError(f"{_WHERE}: {name} must be a whole number of at least 0. Received: {received(value)}")
    if evaluate is not None and not callable(evaluate):
        raise InputError(f"{_WHERE}: evaluate must be a function of the model. Received: {received(evaluate)}")
    if pattern == CHANNELS:
        raise InputError(
            f'{_WHERE}: pattern="channels" is not for tickets, which keep their shapes; give "unstructured", N:M or a '
            'block, or prune channels with PruningCallback(pattern="channels")'
        )
    parsed = parse_pattern(pattern)
    _check_model(model)
    weights = select(prunable_weights(model), include, exclude, where=_WHERE)
    numbers = {id(variable): number for number, variable in enumerate(model.variables)}
    return Search(
        model,
        as_fit_call(fit, f'rewind_to="{point}"' if point.late else None),
        int(rounds),
        float(fraction),
        point,
        mode,
        _usable(as_criterion(criterion)),
        pattern,
        scope,
        WeightRanking(weights, parsed, (None,) * len(weights), scope == "global", min_weights),
        tuple(numbers[id(weight.variable)] for weight in weights),
        min_weights,
        evaluate,
        seed,
    )


def _check_model(model: Any) -> None:
    import keras

    if not isinstance(model, keras.Model):
        raise InputError(f"{_WHERE}: model must be a Keras model. Received: {received(model)}")
    if not getattr(model, "compiled", False) or model.optimizer is None:
        raise InputError(
            f'{_WHERE}: the model "{model.name}" is not compiled; call model.compile(...) before find_ticket, so '
            "that its optimizer can be rewound"
        )


def _usable(criterion: Criterion) -> Criterion:
    if criterion.needs_data or criterion.regrows:
        why = "needs data" if criterion.needs_data else "lets pruned weights come back"
        raise InputError(
            f'{_WHERE}: the criterion "{criterion.name}" {why}, which a search for tickets has no place for; give '
            '"magnitude", "taylor" or "random"'
        )
    return criterion


def _described(variable: Any) -> str:
    """Its own name, without its layer's: Keras counts layers up when a model is built again."""
    return f"{variable.name} {tuple(int(n) for n in variable.shape)} {variable.dtype}"


def _first_difference(before: list[Any], now: list[Any]) -> tuple[Any, Any]:
    for old, new in zip(before, now, strict=False):
        if old != new:
            return old, new
    return f"{len(before)} of them", f"{len(now)} of them"
