"""All criteria."""

from __future__ import annotations

from edgeprune.errors import InputError, nearest
from edgeprune.sparsity.criteria.apoz import Apoz
from edgeprune.sparsity.criteria.base import Criterion
from edgeprune.sparsity.criteria.grasp import Grasp
from edgeprune.sparsity.criteria.lamp import Lamp
from edgeprune.sparsity.criteria.magnitude import Magnitude
from edgeprune.sparsity.criteria.movement import Movement
from edgeprune.sparsity.criteria.random import Random
from edgeprune.sparsity.criteria.snip import Snip
from edgeprune.sparsity.criteria.taylor import Taylor

CRITERIA: dict[str, type[Criterion]] = {
    kind.name: kind for kind in (Magnitude, Lamp, Movement, Taylor, Snip, Grasp, Apoz, Random)
}


def as_criterion(value: str | Criterion) -> Criterion:
    """The criterion of that name with its default options, or the one that was given.

    Raises:
        InputError: there is no criterion of that name, or `value` is neither.
    """
    if isinstance(value, Criterion):
        return value
    if isinstance(value, str):
        if value not in CRITERIA:
            raise InputError(f'unknown criterion "{value}"; {nearest(value, CRITERIA)}')
        return CRITERIA[value]()
    raise InputError(
        f"criterion must be a name ({', '.join(CRITERIA)}) or a criterion such as edgeprune.Movement(), "
        f"received {value!r}"
    )
