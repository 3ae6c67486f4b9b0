"""The state of a model in training: its variables and its optimizer's, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeprune.errors import InputError


@dataclass(frozen=True, eq=False)
class TrainingState:
    """A point of training.

    variables: of the model in its own order: weights, BatchNorm statistics, the states of seeds. optimizer: iterations,
    learning rate, moments. epochs: how many were finished.
    """

    variables: tuple[np.ndarray, ...]
    optimizer: tuple[np.ndarray, ...]
    epochs: int


def capture(model: Any, epochs: int) -> TrainingState:
    """A copy of the state of the moment; memory: the model once and its optimizer once."""
    return TrainingState(values(model.variables), values(model.optimizer.variables), epochs)


def capture_start(model: Any) -> TrainingState:
    """The model as it is, with an optimizer as right after it was built: iterations 0, no moments.

    Raises:
        InputError: the optimizer was trained before and can't be made anew from its configuration.
    """
    optimizer = built_optimizer(model)
    steps = getattr(optimizer, "inner_optimizer", optimizer)._iterations
    fresh = optimizer if int(np.asarray(steps)) == 0 else _made_anew(model)
    return TrainingState(values(model.variables), values(fresh.variables), 0)


def built_optimizer(model: Any) -> Any:
    """The model's optimizer, with its variables made as `fit` would make them."""
    if not model.optimizer.built:
        with model.distribute_strategy.scope():
            model.optimizer.build(model.trainable_variables)
    return model.optimizer


def _made_anew(model: Any) -> Any:
    optimizer = model.optimizer
    try:
        with model.distribute_strategy.scope():
            fresh = type(optimizer).from_config(optimizer.get_config())
            fresh.build(model.trainable_variables)
    except (AttributeError, NotImplementedError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"find_ticket: the optimizer {type(optimizer).__name__} was trained before and can't be made anew from its "
            f"config ({reason}); call model.compile(...) again before find_ticket"
        ) from error
    return fresh


def values(variables: Sequence[Any]) -> tuple[np.ndarray, ...]:
    """Copies: an array of TensorFlow may share the variable's memory."""
    return tuple(np.asarray(variable).copy() for variable in variables)


def assign(variables: Sequence[Any], arrays: Sequence[np.ndarray]) -> None:
    """Write arrays into variables."""
    for variable, array in zip(variables, arrays, strict=True):
        # .npz files know no bfloat16 and hold its bytes
        variable.assign(array.view(np.asarray(variable).dtype) if array.dtype.kind == "V" else array)


def assign_optimizer(optimizer: Any, arrays: Sequence[np.ndarray], *, weights_stay: bool) -> None:
    """Write a recorded state into an optimizer. weights_stay: the model's weights are not those of that state."""
    assign(optimizer.variables, arrays)
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if weights_stay and type(inner).__name__ == "ScheduleFreeAdamW":
        # Its momentum is a second set of weights, which would pull the model back.
        assign(inner._momentums, values(inner._trainable_variables))
