"""The metric on validation data, streamed: memory holds one batch of inputs at a time."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from edgeprune.errors import InputError
from edgeprune.progress import progress
from edgeprune.validate.interpreter import LiteModel
from edgeprune.validate.keras_outputs import keras_outputs

# (one array (n, *shape) per input in the order of the Keras model's inputs, labels in any form the metric takes)
Batches = Iterable[tuple[Sequence[np.ndarray], Any]]
Predict = Callable[[Sequence[np.ndarray]], list[np.ndarray]]


class BatchMetric(Protocol):
    """What is needed of a metric. Predictions are one array, or a tuple of arrays for several outputs."""

    @property
    def name(self) -> str: ...

    def evaluate(self, y_true: Iterable[Any], y_pred: Iterable[Any], /) -> float: ...


def evaluate_tflite(
    model: bytes | str | Path,
    batches: Batches,
    metric: BatchMetric,
    *,
    input_names: Sequence[str] | None = None,
    workers: int | None = None,
    batch_count: int | None = None,
) -> float:
    """The metric of a TFLite file (content or path), run as shipped through ai-edge-litert.

    workers: interpreters that share each batch, by default one per core. Each runs one thread: whole samples
    in parallel beat parallel convolutions, and the values don't depend on the number of workers.
    batch_count: for the progress bar, when known. `input_names` as for LiteModel.

    Raises:
        InputError: no batches, or the file can't be read.
        ValidationError: the runtime refuses the file or fails, or the batches don't fit it.
    """
    content = model if isinstance(model, bytes) else Path(model)
    count = workers or os.cpu_count() or 1
    models = [LiteModel(content, input_names=input_names) for _ in range(count)]
    with ThreadPoolExecutor(count) as pool:
        return _evaluate(_shared(models, pool), batches, metric, f"{metric.name} of the TFLite model", batch_count)


def evaluate_keras(model: Any, batches: Batches, metric: BatchMetric, *, batch_count: int | None = None) -> float:
    """The metric of a Keras model, in inference mode. Its compiled state is not used or changed.

    Raises:
        InputError: no batches.
    """

    def predict(inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        return keras_outputs(model, inputs)

    return _evaluate(predict, batches, metric, f"{metric.name} of the Keras model", batch_count)


def _shared(models: list[LiteModel], pool: ThreadPoolExecutor) -> Predict:
    """A predict function that cuts each batch into one part per model; running a model releases Python's lock."""

    def predict(inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        parts = zip(*(np.array_split(array, len(models)) for array in inputs), strict=True)
        results = list(pool.map(LiteModel.predict, models, parts))
        return [np.concatenate(outputs) for outputs in zip(*results, strict=True)]

    return predict


def _evaluate(predict: Predict, batches: Batches, metric: BatchMetric, title: str, batch_count: int | None) -> float:
    source = iter(batches)
    first = next(source, None)
    if first is None:
        raise InputError(f"no validation data to measure {title}; got no batches")
    with progress(title, batch_count) as advance:

        def answered() -> Iterator[tuple[Any, Any]]:
            for inputs, labels in itertools.chain([first], source):
                outputs = predict(inputs)
                yield labels, outputs[0] if len(outputs) == 1 else tuple(outputs)
                advance(1, "")

        # A metric reads labels and predictions side by side; tee keeps only what one of them is ahead by.
        for_labels, for_predictions = itertools.tee(answered())
        return float(metric.evaluate((labels for labels, _ in for_labels), (answers for _, answers in for_predictions)))
