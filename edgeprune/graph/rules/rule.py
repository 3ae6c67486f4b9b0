"""The two halves of a rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeprune.graph.context import Call, Context, Traced

Config = dict[str, Any]
# Number of kept channels of the axes a layer registered under a name in Context.layer_axis / issued.
KeptLengths = Mapping[str, int]
# Which channels of the same axes are kept, (channels,) bool each.
KeptMasks = Mapping[str, np.ndarray]
Arguments = tuple[tuple[Any, ...], Mapping[str, Any]]


def unchanged(config: Config, kept: KeptLengths) -> Config:
    """The `resize` of layers whose config names no length."""
    return config


@dataclass(frozen=True)
class Rule:
    """trace(call, context) -> Traced; resize(config, kept) -> config of the smaller layer.

    Operations whose call arguments name places or values along the channels (slices, constant arrays) also have
    rewrite(args, kwargs, masks) -> (args, kwargs) of the smaller call.
    """

    trace: Callable[[Call, Context], Traced]
    resize: Callable[[Config, KeptLengths], Config] = unchanged
    rewrite: Callable[[tuple[Any, ...], Mapping[str, Any], KeptMasks], Arguments] | None = None


def single(ids: np.ndarray, *work: Any) -> Traced:
    """One output and its work."""
    return Traced((ids,), tuple(work))
