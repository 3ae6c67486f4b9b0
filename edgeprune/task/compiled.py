"""What a compiled model says about its training, per output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgeprune.errors import InputError, nearest


@dataclass(frozen=True)
class CompiledTask:
    """Arguments of `compile` as objects or names, in output order.

    losses: one per output, None for outputs without; None when the model was compiled without any.
    loss_weights: one per output; None for equal weights.
    optimizer: the live optimizer; its learning rate is the current one.
    metrics: per output those to watch.
    """

    losses: tuple[Any, ...] | None
    loss_weights: tuple[float, ...] | None
    optimizer: Any
    metrics: tuple[tuple[Any, ...], ...]


def read_compiled(keras_model: Any, output_names: Sequence[str]) -> CompiledTask | None:
    """Read a model's compile arguments; None when it isn't compiled.

    Raises:
        InputError: the arguments don't match the outputs, or are of a kind that can't be carried over.
    """
    config = getattr(keras_model, "_compile_config", None)
    if not getattr(keras_model, "compiled", False) or config is None:
        return None
    given = config.config
    losses = per_output(_revived(given.get("loss")), output_names, "loss")
    weights = _revived(given.get("loss_weights"))
    listed = [_metrics(_revived(given.get(key)), output_names) for key in ("metrics", "weighted_metrics")]
    return CompiledTask(
        losses=None if all(loss is None for loss in losses) else losses,
        loss_weights=None if weights is None else _weights(weights, output_names),
        optimizer=getattr(keras_model, "optimizer", None),
        metrics=tuple(first + second for first, second in zip(*listed, strict=True)),
    )


def per_output(value: Any, output_names: Sequence[str], what: str) -> tuple[Any, ...]:
    """One entry per output from a single value (used for all), a list in output order or a dictionary by name.

    Raises:
        InputError: a name is unknown or the list has another length.
    """
    if isinstance(value, dict):
        for name in value:
            if name not in output_names:
                raise InputError(
                    f'{what} names "{name}", which is no output of the model; {nearest(name, output_names)}'
                )
        return tuple(value.get(name) for name in output_names)
    if isinstance(value, (list, tuple)):
        if len(value) != len(output_names):
            raise InputError(
                f"{what} has {len(value)} entries, the model has {len(output_names)} outputs; give one per output"
            )
        return tuple(value)
    return (value,) * len(output_names)


def _weights(value: Any, output_names: Sequence[str]) -> tuple[float, ...]:
    entries = per_output(value, output_names, "loss_weights")
    return tuple(1.0 if weight is None else float(weight) for weight in entries)


def _metrics(value: Any, output_names: Sequence[str]) -> tuple[tuple[Any, ...], ...]:
    if not value:
        return ((),) * len(output_names)
    if len(output_names) == 1:
        return (tuple(_flatten(value)),)
    return tuple(tuple(_flatten(entry)) for entry in per_output(value, output_names, "metrics"))


def _flatten(value: Any) -> list[Any]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [leaf for entry in value for leaf in _flatten(entry)]
    return [] if value is None else [value]


def _revived(value: Any) -> Any:
    """Objects for serialized forms, anywhere in a structure of lists and dictionaries."""
    import keras

    if isinstance(value, dict):
        if "class_name" in value and "config" in value:
            return keras.saving.deserialize_keras_object(value)
        return {key: _revived(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_revived(entry) for entry in value]
    return value
