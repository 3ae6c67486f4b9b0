"""The exception tree of edgeprune. Every class carries the exit code the command line uses.

    EdgepruneError          1   (never raised itself)
    ├── InputError          2   bad input or usage: a file, a value, a model, data, a name
    ├── BudgetError         3   the budget can't be met; the message names the closest point
    ├── DeviceError         4   the device, its transport or the runtime on it failed
    ├── ValidationError     5   the built model failed validation
    └── Interrupted       130   stopped by the user; the message says how to continue

A message is one line: what is wrong, what was received, what is allowed, what to do next.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class EdgepruneError(Exception):
    """Base class; catch it to catch everything edgeprune raises on purpose."""

    exit_code = 1


class InputError(EdgepruneError):
    """What the user gave can't be used."""

    exit_code = 2


class BudgetError(EdgepruneError):
    """No plan meets the budget. `closest` maps limit names to the values that were reached."""

    exit_code = 3

    def __init__(self, message: str, closest: dict[str, float] | None = None) -> None:
        super().__init__(message)
        self.closest = dict(closest or {})


class DeviceError(EdgepruneError):
    """A device, its transport or its runtime failed."""

    exit_code = 4


class ValidationError(EdgepruneError):
    """The built model does not do what the Keras model does."""

    exit_code = 5


class Interrupted(EdgepruneError):
    """The user stopped the work."""

    exit_code = 130


def nearest(name: str, allowed: Iterable[str]) -> str:
    """A hint naming the closest allowed value, or all of them when none is close.

    >>> nearest("rpi44", ["rpi3", "rpi4"])
    'did you mean "rpi4"?'
    """
    choices = list(allowed)
    close = difflib.get_close_matches(name, choices, n=1, cutoff=0.6)
    if close:
        return f'did you mean "{close[0]}"?'
    return "allowed: " + ", ".join(choices)
