"""The loss that training will minimize, on given batches, and its derivatives by the weights."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from edgeprune.errors import InputError
from edgeprune.sparsity.criteria.base import Evidence
from edgeprune.sparsity.criteria.batches import Batch, sample_count
from edgeprune.sparsity.criteria.failures import in_one_line

# Half-precision gradients of large feature maps would become zero.
_HALF_PRECISION_SCALE = 1024.0


class TrainingLoss:
    """The mean over batches, weighted by samples, of what `model.compute_loss` gives in training mode.

    Training mode, as a model before training has no BatchNorm statistics but the batch's own. Each pass over the
    batches starts from the same dropout seeds, and afterwards every variable of the model is as it was.

    change: what becomes of the predictions before the loss sees them.
    """

    def __init__(
        self,
        name: str,
        evidence: Evidence,
        batches: Sequence[Batch],
        change: Callable[[Any], Any] = lambda predictions: predictions,
    ) -> None:
        model = evidence.model
        self._name = name
        self._model = model
        # Of mirrored variables the copy that is read outside a replica.
        local = model.distribute_strategy.experimental_local_results
        self._values = [local(weight.variable.value)[0] for weight in evidence.weights]
        self._batches = batches
        self._change = change
        half = any(layer.compute_dtype == "float16" for layer in model._flatten_layers())
        self._scale = _HALF_PRECISION_SCALE if half else 1.0
        # The loss and the metrics make their variables here, as in fit; a compiled function can't.
        with in_one_line(name), model.distribute_strategy.scope():
            model._symbolic_build(data_batch=batches[0])

    def gradient(self) -> list[np.ndarray]:
        """dL/dw, one float32 array per weight, of the variable's shape; 0 where the loss doesn't depend on a weight.

        Raises:
            InputError: the loss can't be computed on the data, or the gradient is not finite.
        """
        return self._mean(self._gradient)

    def hessian_product(self, vector: Sequence[np.ndarray]) -> list[np.ndarray]:
        """H v, in the form of `gradient`; `vector`: one array per weight.

        Reverse mode over reverse mode: the gradient of (dL/dw . v).

        Raises:
            InputError: as for `gradient`; also when an operation of the model has no second gradient.
        """
        import tensorflow as tf

        # H is linear: a vector of ordinary size keeps half precision from underflow.
        size = max((float(np.abs(part).max()) for part in vector if part.size), default=0.0) or 1.0
        direction = [tf.constant(part / size) for part in vector]

        def product(*batch: Any) -> list[Any]:
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(self._values)
                gradient = self._gradient(*batch)
                slope = tf.add_n([tf.reduce_sum(own * along) for own, along in zip(gradient, direction, strict=True)])
            return self._derivative(tape, slope)

        return [part * np.float32(size) for part in self._mean(product)]

    def _gradient(self, x: Any, y: Any, sample_weight: Any) -> list[Any]:
        import tensorflow as tf

        model = self._model
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self._values)
            predictions = model(x, training=True) if model._call_has_training_arg else model(x)
            # as fit calls it: a compute_loss of the user's own may take no `training`
            loss = model._compute_loss(
                x=x, y=y, y_pred=self._change(predictions), sample_weight=sample_weight, training=True
            )
            # Inside the scope of a strategy Keras divides by its replicas, but all samples are seen here.
            replicas = tf.distribute.get_strategy().num_replicas_in_sync
            loss = tf.cast(loss, tf.float32) * replicas * self._scale
        return [tf.cast(part, tf.float32) / self._scale for part in self._derivative(tape, loss)]

    def _derivative(self, tape: Any, target: Any) -> list[Any]:
        import tensorflow as tf

        found = tape.gradient(target, self._values, unconnected_gradients="zero")
        # an embedding's gradient holds only the rows that were read
        return [tf.convert_to_tensor(part) for part in found]

    def _mean(self, compute: Callable[..., list[Any]]) -> list[np.ndarray]:
        """The mean of `compute` over the batches, weighted by samples."""
        import tensorflow as tf

        eager = self._model.run_eagerly
        compiled = compute if eager else tf.function(compute, reduce_retracing=True, autograph=False)
        totals = [np.zeros(value.shape, dtype=np.float32) for value in self._values]
        samples = 0
        with in_one_line(self._name), _kept(self._model):
            for batch in self._batches:
                count = sample_count(batch)
                for total, part in zip(totals, compiled(*batch), strict=True):
                    total += count * part.numpy()
                samples += count
        if not all(np.isfinite(total).all() for total in totals):
            raise InputError(
                f'the criterion "{self._name}": the gradients of the loss are not finite; check the loss, the labels '
                "and the model's weights"
            )
        return [total / np.float32(samples) for total in totals]


@contextlib.contextmanager
def _kept(model: Any) -> Iterator[None]:
    """Put back what a pass in training mode changes: BatchNorm statistics, the states of seeds, metrics."""
    variables = [*model.non_trainable_variables, *model.metrics_variables]
    before = [variable.numpy() for variable in variables]
    try:
        yield
    finally:
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)
