"""The user's data as a short list of batches, read once and checked against the model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from edgeprune.data.signature import Port, shapes_agree, signature_of
from edgeprune.data.structure import in_port_order, part_name
from edgeprune.errors import InputError
from edgeprune.sparsity.criteria.base import Evidence

# Enough for the criteria's papers (one or a few batches), and little enough to be kept in memory.
MAX_SAMPLES = 2048

# (x, y, sample_weight) as fit takes them; y and sample_weight may be None
Batch = tuple[Any, Any, Any]


def read_batches(name: str, evidence: Evidence, *, labels: bool = True) -> tuple[Batch, ...]:
    """At most 2048 samples as batches; read once, so that each pass over them sees the same.

    Of arrays a random choice by `evidence.seed` is taken, so that data sorted by class gives mixed batches; of
    anything else the first batches, the last one cut. They stay in memory as long as the result does.

    labels: the criterion computes the loss, which needs labels unless the model was compiled without one.

    Raises:
        InputError: there is no data, it is empty, its lengths differ, labels are missing, its shapes don't fit the
            model, or the batch size is no size.
    """
    data = evidence.data
    if data is None:
        raise InputError(f'the criterion "{name}" needs data: pass data=(x, y), or choose the criterion "magnitude"')
    if labels and not evidence.model.compiled:
        raise InputError(f'the criterion "{name}" needs the loss: call model.compile(loss=...) before')
    if evidence.batch_size < 1:
        raise InputError(f"batch_size must be 1 or more, received {evidence.batch_size}")
    ports = _inputs(evidence.model)
    labels = labels and getattr(evidence.model, "loss", None) is not None
    raw = _raw(name, data, evidence.batch_size, evidence.seed)
    found = tuple(_limited(_checked(name, batch, ports, labels) for batch in raw))
    if not found:
        raise InputError(
            f'the criterion "{name}" got no samples from data ({type(data).__name__}); a generator that was read '
            "before is empty: pass arrays, a list of batches or a tf.data.Dataset"
        )
    return found


def sample_count(batch: Batch) -> int:
    """Number of samples in a batch."""
    return int(_leaves(batch[0])[0].shape[0])


def _raw(name: str, data: Any, batch_size: int, seed: int) -> Iterator[Batch]:
    """Batches as they come, from any form of data."""
    import keras

    if isinstance(data, (tuple, dict, np.ndarray)) or keras.ops.is_tensor(data):
        yield from _array_batches(name, _parts(name, data), batch_size, seed)
        return
    if not isinstance(data, Iterable):
        raise InputError(
            f'the criterion "{name}": data is {type(data).__name__}; pass (x, y) arrays, a batched tf.data.Dataset, '
            "a keras PyDataset or another iterable of (x, y) batches"
        )
    for batch in data:
        x, y, sample_weight = _parts(name, batch)
        yield _arrays(x), _arrays(y), _arrays(sample_weight)


def _parts(name: str, data: Any) -> Batch:
    """x, y and sample_weight of (x,), (x, y), (x, y, sample_weight) or x alone."""
    if not isinstance(data, (tuple, list)):
        return data, None, None
    if not 1 <= len(data) <= 3:
        raise InputError(
            f'the criterion "{name}": data must be (x, y) or (x, y, sample_weight), received {len(data)} parts'
        )
    x, y, sample_weight = (*data, None, None)[:3]
    return x, y, sample_weight


def _array_batches(name: str, parts: Batch, batch_size: int, seed: int) -> Iterator[Batch]:
    x, y, sample_weight = (_arrays(part) for part in parts)
    size = _common_length(name, (x, y, sample_weight))
    order = np.random.default_rng(seed).permutation(size)
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        yield _rows(x, rows), _rows(y, rows), _rows(sample_weight, rows)


def _limited(batches: Iterable[Batch]) -> Iterator[Batch]:
    """Batches up to MAX_SAMPLES samples, the last one cut; empty ones are left out."""
    left = MAX_SAMPLES
    for batch in batches:
        count = sample_count(batch)
        if count == 0:
            continue
        x, y, sample_weight = batch
        if count > left:
            yield _rows(x, slice(left)), _rows(y, slice(left)), _rows(sample_weight, slice(left))
        else:
            yield batch
        left -= count
        if left <= 0:
            return


def _checked(name: str, batch: Batch, ports: tuple[Port, ...], labels: bool) -> Batch:
    x, y, sample_weight = batch
    if labels and y is None:
        raise InputError(
            f'the criterion "{name}" needs labels, but data holds only x; pass data=(x, y) or batches of (x, y)'
        )
    _common_length(name, batch)
    if ports:
        for index, (part, port) in enumerate(zip(in_port_order(x, ports, "x"), ports, strict=True)):
            shape = tuple(_arrays(part).shape)
            if not _fits(shape[1:], port.shape):
                takes = ", ".join("any" if size is None else str(size) for size in port.shape)
                raise InputError(
                    f'the criterion "{name}": {part_name(ports, index, "x")} of a batch has shape {shape}, but the '
                    f"model takes (batch, {takes}); give data of the shape that fit() takes, in batches"
                )
    return batch


def _fits(shape: tuple[int, ...], allowed: tuple[int | None, ...]) -> bool:
    """Whether Keras takes samples of that shape: it adds or drops a last axis of 1."""
    return (
        shapes_agree(shape, allowed)
        or (allowed[-1:] == (1,) and shapes_agree(shape, allowed[:-1]))
        or (shape[-1:] == (1,) and shapes_agree(shape[:-1], allowed))
    )


def _inputs(model: Any) -> tuple[Port, ...]:
    """The model's inputs; none when its class doesn't say them."""
    try:
        return signature_of(model).inputs
    except InputError:
        return ()


def _arrays(part: Any) -> Any:
    """A structure of arrays: what is not an array or tensor becomes one."""
    import keras

    def convert(leaf: Any) -> Any:
        return leaf if keras.ops.is_tensor(leaf) else np.asarray(leaf)

    return None if part is None else keras.tree.map_structure(convert, part)


def _rows(part: Any, rows: Any) -> Any:
    import keras

    return None if part is None else keras.tree.map_structure(lambda leaf: np.asarray(leaf)[rows], part)


def _leaves(part: Any) -> list[Any]:
    import keras

    return [leaf for leaf in keras.tree.flatten(part) if leaf is not None]


def _common_length(name: str, batch: Batch) -> int:
    lengths = [int(leaf.shape[0]) if len(leaf.shape) else 1 for leaf in _leaves(batch)]
    if not lengths:
        raise InputError(f'the criterion "{name}": data has no x; pass data=(x, y)')
    if len(set(lengths)) > 1:
        raise InputError(
            f'the criterion "{name}": data has parts of different lengths ({", ".join(map(str, lengths))}); '
            "x, y and sample_weight need one entry per sample"
        )
    return lengths[0]
