"""When masks are recomputed during training, and how sparse they are by then. Loads no TensorFlow."""

from edgeprune.sparsity.schedules.base import Ramp, Schedule, TrainingLength, as_schedule
from edgeprune.sparsity.schedules.iterative import IterativeSchedule
from edgeprune.sparsity.schedules.ramps import (
    ConstantSchedule,
    CosineSchedule,
    ExponentialSchedule,
    LinearSchedule,
    OneShotSchedule,
    PolynomialSchedule,
)

__all__ = [
    "ConstantSchedule",
    "CosineSchedule",
    "ExponentialSchedule",
    "IterativeSchedule",
    "LinearSchedule",
    "OneShotSchedule",
    "PolynomialSchedule",
    "Ramp",
    "Schedule",
    "TrainingLength",
    "as_schedule",
]
