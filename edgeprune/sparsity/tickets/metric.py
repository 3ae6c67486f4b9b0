"""The one number that a round is judged by."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from edgeprune.errors import InputError
from edgeprune.sparsity.schedules.checks import is_number, received

# What callbacks put into the logs besides metrics.
_NO_METRICS = frozenset({"sparsity", "learning_rate", "lr"})
# A metric with one of these words in its name is better when it is lower; every other one when it is higher.
_LOWER = frozenset(
    [
        "loss",
        "error",
        "mse",
        "mae",
        "mape",
        "msle",
        "rmse",
        "hinge",
        "crossentropy",
        "entropy",
        "divergence",
        "kld",
        "poisson",
        "logcosh",
        "cosh",
        "perplexity",
        "false",
        "wer",
        "cer",
    ]
)


def final_values(logs: Mapping[str, Any]) -> dict[str, float]:
    """The last value of each metric; what is no single number is left out. logs: name -> value, or one an epoch."""
    last = {name: value[-1] if isinstance(value, list) and value else value for name, value in logs.items()}
    arrays = {name: np.asarray(value) for name, value in last.items()}
    return {
        name: float(value)
        for name, value in arrays.items()
        if value.ndim == 0 and value.dtype.kind in "fiu" and name not in _NO_METRICS
    }


def choose_metric(values: Mapping[str, float]) -> str | None:
    """The first validation metric that is no loss, else the validation loss, else the first training metric that is no
    loss, else the training loss; None where there is nothing."""
    return min(values, key=lambda name: (not name.startswith("val_"), name.endswith("loss")), default=None)


def higher_is_better(name: str) -> bool:
    """A guess by name: False for a loss, an error, a divergence or a count of false answers.

    >>> higher_is_better("val_accuracy"), higher_is_better("val_mean_squared_error")
    (True, False)
    """
    return not _LOWER & set(re.split(r"[^a-z]+", name.lower()))


def name_of(evaluate: Callable[[Any], float]) -> str:
    """What the value of the user's function is called: the function's name, where it has one."""
    name = getattr(evaluate, "__name__", "")
    return name if name.isidentifier() else "evaluate"


def evaluated(evaluate: Callable[[Any], float], model: Any) -> float:
    """The value of the user's function.

    Raises:
        InputError: it isn't a number.
    """
    value = evaluate(model)
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value.item()
    if not is_number(value):
        raise InputError(f"find_ticket: evaluate(model) must return one number. Received: {received(value)}")
    return float(value)
