"""Which weights take part: include and exclude by layer name, path, type or regular expression."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from edgeprune.errors import InputError, nearest
from edgeprune.sparsity.weights import PrunableWeight, default_is_pruned

# "Conv2D", "block_1/conv", keras.layers.Dense or re.compile("block_[12]")
LayerFilter = Any


def select(
    weights: Sequence[PrunableWeight], include: Any = None, exclude: Any = None, *, where: str = "PruningCallback"
) -> tuple[PrunableWeight, ...]:
    """The weights that are pruned, in order.

    A filter, or a list of them, is a layer's name, its path ("outer/inner"), any part of the path, a class name, a
    layer class, or a compiled regular expression that is searched in the path; text that starts with "re:" is one too.
    Kernels are those of Dense, EinsumDense (so MultiHeadAttention), convolutions, recurrent cells and Embedding.
    Without `include`: every kernel of a trainable layer, but depthwise kernels and embeddings.

    Raises:
        InputError: a filter matches nothing, or nothing is left.
    """
    if include is None:
        chosen = [weight for weight in weights if default_is_pruned(weight) and weight.variable.trainable]
    else:
        wanted = _matched(weights, as_filters(include, "include", where), "include", where)
        chosen = [weight for weight in weights if id(weight) in wanted]
    if exclude is not None:
        unwanted = _matched(weights, as_filters(exclude, "exclude", where), "exclude", where)
        chosen = [weight for weight in chosen if id(weight) not in unwanted]
    if not chosen:
        raise InputError(
            f"{where}: no weights are left to prune"
            + (" after include and exclude" if include is not None or exclude is not None else "")
            + "; the model's kernels are in "
            + _listed(weight.layer.name for weight in weights)
        )
    return tuple(chosen)


def per_layer(weights: Sequence[PrunableWeight], targets: Mapping[Any, float], *, where: str) -> list[float | None]:
    """The own sparsity of each weight, None where none is set; of several filters that match, the last counts.

    Raises:
        InputError: a filter matches nothing, or a sparsity is outside [0, 1).
    """
    found: list[float | None] = [None] * len(weights)
    if not isinstance(targets, Mapping):
        raise InputError(f"{where}: layer_sparsity must be a dictionary {{filter: sparsity}}. Received: {targets!r}")
    for pattern, sparsity in targets.items():
        if isinstance(sparsity, bool) or not isinstance(sparsity, (int, float)) or not 0 <= sparsity < 1:
            raise InputError(
                f"{where}: the sparsity of {_named(pattern)!r} in layer_sparsity must be in [0, 1), not {sparsity!r}"
            )
        matched = _matched(weights, as_filters(pattern, "layer_sparsity", where), "layer_sparsity", where)
        found = [float(sparsity) if id(w) in matched else own for w, own in zip(weights, found, strict=True)]
    return found


def as_filters(value: Any, argument: str, where: str) -> list[LayerFilter]:
    """A list of filters from one or several.

    Raises:
        InputError: something that is no filter.
    """
    values = list(value) if isinstance(value, Iterable) and not isinstance(value, (str, type)) else [value]
    for one in values:
        if not isinstance(one, (str, re.Pattern)) and not inspect.isclass(one):
            raise InputError(
                f"{where}: {argument} takes layer names, class names, layer classes or compiled regular expressions. "
                f"Received: {one!r}"
            )
    return values


def _matched(weights: Sequence[PrunableWeight], filters: list[LayerFilter], argument: str, where: str) -> set[int]:
    matched: set[int] = set()
    for one in filters:
        accepts = _test(one, argument, where)
        found = {id(weight) for weight in weights if accepts(weight)}
        if not found:
            names = list(dict.fromkeys(name for w in weights for name in (w.layer.name, type(w.layer).__name__)))
            near = nearest(_named(one), names) if isinstance(one, str) else f"they are {_listed(names)}"
            raise InputError(f"{where}: {argument}={_named(one)!r} matches no layer with a kernel to prune; {near}")
        matched |= found
    return matched


def _test(one: LayerFilter, argument: str, where: str) -> Callable[[PrunableWeight], bool]:
    if isinstance(one, str) and one.startswith("re:"):
        try:
            one = re.compile(one[3:])
        except re.error as error:
            raise InputError(f"{where}: {argument}={one!r} is not a regular expression: {error}") from error
    if isinstance(one, re.Pattern):
        expression = one
        return lambda weight: expression.search(weight.path) is not None
    if isinstance(one, str):
        name = one
        return lambda weight: (
            name in (weight.path, weight.layer.path, *weight.path.split("/"), *_class_names(weight.layer))
        )
    return lambda weight: isinstance(weight.layer, one)


def _class_names(layer: Any) -> list[str]:
    """The layer's own class, without its bases: "Conv2D" does not mean Conv2DTranspose or DepthwiseConv2D."""
    return [type(layer).__name__]


def _named(one: LayerFilter) -> str:
    if isinstance(one, re.Pattern):
        return str(one.pattern)
    return one.__name__ if inspect.isclass(one) else str(one)


def _listed(names: Iterable[str], most: int = 8) -> str:
    unique = list(dict.fromkeys(names))
    if not unique:
        return "no layer"
    return ", ".join(unique[:most]) + (f" and {len(unique) - most} more" if len(unique) > most else "")
