"""edgeprune: prune Keras models until they fit a board, and prove it with a measurement.

Public names are resolved on first use, so `import edgeprune` does not import TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

# public name -> module that defines it
_PUBLIC = {
    "Budget": "edgeprune.target",
    "BudgetError": "edgeprune.errors",
    "BuildReport": "edgeprune.records.report",
    "BuildResult": "edgeprune.pipeline.build",
    "ConstantSchedule": "edgeprune.sparsity.schedules.ramps",
    "CosineSchedule": "edgeprune.sparsity.schedules.ramps",
    "DeviceError": "edgeprune.errors",
    "DistillationCallback": "edgeprune.recover.distill",
    "EdgepruneError": "edgeprune.errors",
    "ExponentialSchedule": "edgeprune.sparsity.schedules.ramps",
    "Grasp": "edgeprune.sparsity.criteria.grasp",
    "InputError": "edgeprune.errors",
    "Interrupted": "edgeprune.errors",
    "IterativeSchedule": "edgeprune.sparsity.schedules.iterative",
    "LinearSchedule": "edgeprune.sparsity.schedules.ramps",
    "Movement": "edgeprune.sparsity.criteria.movement",
    "OneShotSchedule": "edgeprune.sparsity.schedules.ramps",
    "Options": "edgeprune.pipeline.options",
    "PlanReport": "edgeprune.pipeline.planning",
    "PolynomialSchedule": "edgeprune.sparsity.schedules.ramps",
    "PruningCallback": "edgeprune.sparsity.callback",
    "Target": "edgeprune.target",
    "TaskOptions": "edgeprune.task.options",
    "Taylor": "edgeprune.sparsity.criteria.taylor",
    "ValidationError": "edgeprune.errors",
    "build": "edgeprune.pipeline.build",
    "find_ticket": "edgeprune.sparsity.rewind",
    "freeze_sparsity": "edgeprune.sparsity.freeze",
    "from_keras2": "edgeprune.interop.keras2",
    "load_target": "edgeprune.target",
    "make_plan": "edgeprune.pipeline.planning",
    "prune_channels": "edgeprune.pipeline.channels",
    "reestimate_batchnorm": "edgeprune.pipeline.statistics",
    "remove_pruned_channels": "edgeprune.sparsity.channels",
    "unfreeze_sparsity": "edgeprune.sparsity.freeze",
}

__all__ = [*_PUBLIC, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'edgeprune' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
