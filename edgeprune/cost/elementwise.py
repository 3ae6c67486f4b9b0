"""Instructions of operations that only go over values, per value that they read or write.

Counted on emulated boards (tools/count_kernels.py): XNNPACK's NEON kernels are the same on all of them, to a few per
cent. What is not listed costs as much as an addition.
"""

from __future__ import annotations

# TFLite's name -> (float32, int8) instructions per value
_COUNTED = {
    "ADD": (0.34, 0.82),
    "MUL": (0.34, 0.76),
    "LOGISTIC": (4.55, 0.30),
    "TANH": (2.92, 0.30),
    "HARD_SWISH": (0.92, 1.01),
    "MEAN": (0.58, 0.31),
    "AVERAGE_POOL_2D": (1.65, 3.8),
    "MAX_POOL_2D": (1.41, 0.52),
}


def instructions_per_value(kind: str, integer: bool) -> float:
    """kind: an operation's TFLite name, or "copy" for one that is not known better."""
    return _COUNTED.get(kind, _COUNTED["ADD"])[integer]
