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
    "DeviceError": "edgeprune.errors",
    "EdgepruneError": "edgeprune.errors",
    "InputError": "edgeprune.errors",
    "Interrupted": "edgeprune.errors",
    "Options": "edgeprune.pipeline.options",
    "PlanReport": "edgeprune.pipeline.planning",
    "Target": "edgeprune.target",
    "TaskOptions": "edgeprune.task.options",
    "ValidationError": "edgeprune.errors",
    "build": "edgeprune.pipeline.build",
    "load_target": "edgeprune.target",
    "make_plan": "edgeprune.pipeline.planning",
    "prune_channels": "edgeprune.pipeline.channels",
}

__all__ = [*_PUBLIC, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'edgeprune' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
