"""Matching the user's x and y (one array, a dictionary, a list) with the model's inputs and outputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeprune.data.signature import Port
from edgeprune.errors import InputError, nearest


def in_port_order(value: Any, ports: tuple[Port, ...], what: str) -> tuple[Any, ...]:
    """The parts of `value` in the order of `ports`.

    value: one part when there is one port; a dictionary by port name, or a list or tuple in port order, when there
    are several. Parts are returned as they are. what: "x" or "y", for messages.

    Raises:
        InputError: a name is unknown or missing, or the number of parts is wrong.
    """
    side = "input" if what == "x" else "output"
    names = [port.name for port in ports]
    if isinstance(value, Mapping):
        for key in value:
            if key not in names:
                raise InputError(
                    f'{what} names "{key}", which is no {side} of the model; {nearest(str(key), names)}; '
                    f"use the {side} names as the keys of {what}"
                )
        missing = [name for name in names if name not in value]
        if missing:
            raise InputError(f'{what} lacks the model\'s {side} "{missing[0]}"; received: {", ".join(map(str, value))}')
        return tuple(value[name] for name in names)
    if len(ports) == 1:
        return (value,)
    if isinstance(value, (list, tuple)) and len(value) == len(ports):
        return tuple(value)
    received = f"{len(value)} parts" if isinstance(value, (list, tuple)) else type(value).__name__
    raise InputError(
        f"the model has {len(ports)} {side}s ({', '.join(names)}), but {what} is {received}; "
        f"give a dictionary with these names"
    )


def part_name(ports: tuple[Port, ...], index: int, what: str) -> str:
    """How messages call one part: `x`, or `x["image"]` when there are several."""
    return what if len(ports) == 1 else f'{what}["{ports[index].name}"]'
