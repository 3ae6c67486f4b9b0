"""What a pass did to a model, and what it left alone and why."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Refusal:
    """A layer that a pass would change but can't."""

    layer: str
    reason: str


@dataclass(frozen=True)
class PassReport:
    """One pass over one model.

    changed: names of the layers it replaced, in execution order. exactness: what it does to the model's outputs.
    """

    name: str
    exactness: str
    changed: tuple[str, ...] = ()
    refusals: tuple[Refusal, ...] = ()
