"""What the user's configuration may say about training."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from edgeprune.errors import InputError


@dataclass(frozen=True)
class TaskOptions:
    """Each field is used only where the compiled model doesn't say; `learning_rate` overrides it.

    Attributes:
        loss: Keras name or object; for several outputs a dictionary by output name or a list.
        optimizer: Keras name or object.
        learning_rate: greater than 0.
        metric: Keras name or object; among several compiled metrics it picks the one of that name.
        metric_higher_is_better: for metrics whose direction isn't known.

    Raises:
        InputError: the learning rate is not a positive number.
    """

    loss: Any = None
    optimizer: Any = None
    learning_rate: float | None = None
    metric: Any = None
    metric_higher_is_better: bool | None = None

    def __post_init__(self) -> None:
        rate = self.learning_rate
        if rate is not None and not (math.isfinite(rate) and rate > 0):
            raise InputError(f"learning_rate is {rate}; it must be a number greater than 0, e.g. 0.001")
