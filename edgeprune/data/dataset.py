"""Splits over a tf.data.Dataset."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np

from edgeprune.data.checks import check_arrays
from edgeprune.data.labels import LabelLayout, class_numbers
from edgeprune.data.signature import Signature
from edgeprune.data.split import Batch
from edgeprune.data.stratify import sample_indices
from edgeprune.data.structure import in_port_order
from edgeprune.errors import InputError
from edgeprune.quiet import silence

_CHECKED_BATCHES = 4
_CHECK_BATCH_SIZE = 32
_SHUFFLE_BUFFER = 4096
_SAMPLE_FACTOR = 4
_MEMORY_LIMIT_BYTES = 2**30


def is_dataset(value: Any) -> bool:
    """Whether `value` is a tf.data.Dataset, without importing TensorFlow for values that are not."""
    if not any(base.__module__.startswith("tensorflow.") for base in type(value).__mro__):
        return False
    return isinstance(value, _tensorflow().data.Dataset)


class DatasetSplit:
    """A dataset of (x, y) elements, single samples or batches; see Split.

    The dataset's own order and batching are kept: `epoch` uses the dataset's batches where it has them. x and y may be
    tuples in port order or dictionaries by port name.

    Raises:
        InputError: elements are no (x, y) pair, don't fit the model, or never end; only the first batches are checked.
    """

    def __init__(self, dataset: Any, signature: Signature, where: str) -> None:
        self.signature = signature
        self._where = where
        spec = dataset.element_spec
        if not isinstance(spec, tuple) or len(spec) != 2:
            count = f"{len(spec)} parts" if isinstance(spec, tuple) else "one part"
            raise InputError(
                f"{where}: the dataset's elements have {count}; they must be pairs (x, y), without sample weights"
            )
        if int(dataset.cardinality()) == _tensorflow().data.INFINITE_CARDINALITY:
            raise InputError(f"{where}: the dataset never ends; remove .repeat()")
        self._dataset = dataset
        self._batched = self._is_batched()
        self._layouts = self._check_first_batches()

    @cached_property
    def size(self) -> int | None:
        """Number of samples; None for datasets of unknown length and batches of unknown size."""
        cardinality = int(self._dataset.cardinality())
        if cardinality < 0 or not self._batched:
            return cardinality if cardinality >= 0 else None
        first = in_port_order(self._dataset.element_spec[0], self.signature.inputs, "x")[0]
        return cardinality * first.shape[0] if first.shape.rank and first.shape[0] is not None else None

    def epoch(self, batch_size: int, order_seed: int | None) -> Any:
        """A tf.data.Dataset of tensors; see Split.epoch.

        Single samples are shuffled in a window of 4096 and batched; batches come as the user made them.
        """
        dataset = self._conformed
        if not self._batched:
            if order_seed is not None:
                dataset = dataset.shuffle(_SHUFFLE_BUFFER, seed=order_seed, reshuffle_each_iteration=False)
            dataset = dataset.batch(batch_size)
        return dataset.prefetch(1)

    def batches(self, batch_size: int, limit: int | None = None) -> Iterator[Batch]:
        """See Split.batches."""
        dataset = self._conformed.unbatch() if self._batched else self._conformed
        if limit is not None:
            dataset = dataset.take(limit)
        yield from self._numpy(dataset.batch(batch_size))

    def inputs(self, count: int) -> list[np.ndarray]:
        """See Split.inputs."""
        return list(self._first(count)[0])

    def sample(self, count: int, seed: int) -> list[np.ndarray]:
        """Drawn from the first 4 * count samples, balanced by class: reading a whole dataset could take hours."""
        x, y = self._first(_SAMPLE_FACTOR * count)
        chosen = sample_indices(len(x[0]), self._classes(y), count, seed)
        return [array[chosen] for array in x]

    def label_sample(self, count: int, seed: int) -> Any:
        """Labels of the first `count` samples, in a seeded order."""
        _, y = self._first(count)
        order = np.random.default_rng(seed).permutation(len(y[0]))
        return self.signature.pack_outputs([array[order] for array in y])

    def fingerprint(self) -> str:
        """sha256 over the element types, the length, and the first batch where two readings of it agree."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256(f"{self._dataset.element_spec}{self.size}".encode())
        first, again = (self._digest_first() for _ in range(2))
        if first == again:  # a dataset that shuffles differs between readings, and must not look changed
            digest.update(first)
        return digest.hexdigest()

    def arrays(self) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
        """All samples in memory, as (x parts, y parts): a dataset can't be split safely any other way, since one that
        shuffles would mix training and validation samples.

        Raises:
            InputError: more than 1 GiB.
        """
        x_parts: list[tuple[np.ndarray, ...]] = []
        y_parts: list[tuple[np.ndarray, ...]] = []
        held = 0
        for x, y in self.batches(_CHECK_BATCH_SIZE):
            x_parts.append(self.signature.flat_inputs(x))
            y_parts.append(self.signature.flat_outputs(y))
            held += sum(part.nbytes for part in x_parts[-1])
            if held > _MEMORY_LIMIT_BYTES:
                raise InputError(
                    f"{self._where}: the dataset is too large (over {_MEMORY_LIMIT_BYTES >> 20} MiB) to split off a "
                    "validation part; give a validation dataset too, as (train, validation)"
                )
        return (
            tuple(np.concatenate(part) for part in zip(*x_parts, strict=True)),
            tuple(np.concatenate(part) for part in zip(*y_parts, strict=True)),
        )

    @cached_property
    def _conformed(self) -> Any:
        return self._dataset.map(
            lambda x, y: _conform(x, y, self.signature, self._layouts), num_parallel_calls=_tensorflow().data.AUTOTUNE
        )

    def _first(self, count: int) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
        x, y = next(self.batches(count, count))
        return self.signature.flat_inputs(x), self.signature.flat_outputs(y)

    def _classes(self, y: tuple[np.ndarray, ...]) -> np.ndarray | None:
        found = (class_numbers(part, port) for part, port in zip(y, self.signature.outputs, strict=True))
        return next((numbers for numbers in found if numbers is not None), None)

    def _digest_first(self) -> bytes:
        x, y = self._first(_CHECK_BATCH_SIZE)
        return hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in (*x, *y))).digest()

    def _is_batched(self) -> bool:
        """Whether elements carry a batch axis, from the rank of the first input."""
        rank = len(self.signature.inputs[0].shape)
        spec = in_port_order(self._dataset.element_spec[0], self.signature.inputs, "x")[0]
        if not isinstance(spec, _tensorflow().TensorSpec):
            raise InputError(f"{self._where}: x is a {type(spec).__name__}; only dense tensors can be used")
        if spec.shape.rank is None:
            raise InputError(
                f"{self._where}: x has an unknown number of axes; set it with tf.ensure_shape in the dataset's map"
            )
        return bool(spec.shape.rank != rank)

    def _check_first_batches(self) -> tuple[LabelLayout, ...]:
        dataset = self._dataset if self._batched else self._dataset.batch(_CHECK_BATCH_SIZE)
        layouts: tuple[LabelLayout, ...] | None = None
        for x, y in self._numpy(dataset.take(_CHECKED_BATCHES)):
            x_parts = tuple(np.asarray(part) for part in in_port_order(x, self.signature.inputs, "x"))
            y_parts = tuple(np.asarray(part) for part in in_port_order(y, self.signature.outputs, "y"))
            layouts = check_arrays(x_parts, y_parts, self.signature, self._where)
        if layouts is None:
            raise InputError(f"{self._where}: the dataset is empty; give at least one sample")
        return layouts

    def _numpy(self, dataset: Any) -> Iterator[Any]:
        try:
            yield from dataset.as_numpy_iterator()
        except _tensorflow().errors.OpError as error:
            lines = str(error.message).strip().splitlines() or [type(error).__name__]
            raise InputError(f"{self._where}: reading the dataset failed: {lines[0]}") from error


def _conform(x: Any, y: Any, signature: Signature, layouts: tuple[LabelLayout, ...]) -> Batch:
    """`labels.conform` and the input casts, in TensorFlow."""
    tf = _tensorflow()
    inputs = [
        tf.cast(part, port.dtype)
        for part, port in zip(in_port_order(x, signature.inputs, "x"), signature.inputs, strict=True)
    ]
    labels = []
    for part, layout in zip(in_port_order(y, signature.outputs, "y"), layouts, strict=True):
        if layout.change == "squeeze":
            part = part[..., 0]
        elif layout.change == "expand":
            part = part[..., None]
        labels.append(tf.cast(part, tf.int32 if layout.classes else tf.float32))
    return signature.pack_inputs(inputs), signature.pack_outputs(labels)


def _tensorflow() -> Any:
    silence()
    import tensorflow

    return tensorflow
