"""A fresh optimizer for every round of training."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from edgeprune.errors import InputError, nearest

_DEFAULT = "adam"


def optimizer_maker(optimizer: Any, learning_rate: float | None) -> Callable[[], Any]:
    """A function that makes optimizers like `optimizer`, without its state (momenta, step count).

    Args:
        optimizer: a Keras optimizer, whose settings (and current learning rate or schedule) are kept; a Keras name;
            or None for Adam.
        learning_rate: replaces the optimizer's own, when given.

    Raises:
        InputError: there is no optimizer of that name.
    """
    from keras import optimizers

    if optimizer is None or isinstance(optimizer, str):
        optimizer = _by_name(optimizer or _DEFAULT)
    maker = type(optimizer)
    config = optimizer.get_config()
    if learning_rate is not None:
        if isinstance(optimizer, optimizers.LossScaleOptimizer):
            config["inner_optimizer"]["config"]["learning_rate"] = learning_rate
        else:
            config["learning_rate"] = learning_rate
    # from_config writes into what it is given.
    return lambda: maker.from_config(copy.deepcopy(config))


def _by_name(name: str) -> Any:
    from keras import optimizers

    try:
        return optimizers.get(name)
    except (ValueError, TypeError) as error:
        known = [
            entry.lower()
            for entry, value in vars(optimizers).items()
            if isinstance(value, type) and issubclass(value, optimizers.Optimizer) and value is not optimizers.Optimizer
        ]
        raise InputError(
            f'there is no Keras optimizer "{name}"; {nearest(name.lower(), sorted(known))}; '
            "set optimizer to a Keras name"
        ) from error
