"""Lets a criterion see the gradients of plain `fit`, inside the compiled train step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


class GradientHook:
    """Shows `observe(number, gradient)` every gradient of the given variables before the optimizer uses it.

    Takes the place of the optimizer's `apply`, on the instance; under mixed precision that of the inner optimizer,
    which gets gradients without loss scale, and finite ones only. Under a distribution strategy gradients are summed
    first. Several hooks of one training call each other.

    training: stands for the training; a hook that another one, which failed, has left behind is taken off.
    """

    def __init__(
        self, optimizer: Any, variables: Sequence[Any], observe: Callable[[int, Any], None], training: object
    ) -> None:
        self._optimizer = getattr(optimizer, "inner_optimizer", optimizer)
        self._numbers = {id(variable): number for number, variable in enumerate(variables)}
        self._observe: Callable[[int, Any], None] | None = observe
        self._training = training

    def attach(self) -> None:
        """Start watching. A compiled train step must be made again."""
        first = vars(self._optimizer).get("apply")
        if isinstance(first, GradientHook) and first._training is not self._training:
            del self._optimizer.apply
        self._apply = self._optimizer.apply
        self._optimizer.apply = self

    def detach(self) -> None:
        """Stop watching; the last hook gives the optimizer back as it was."""
        self._observe = None
        first = vars(self._optimizer).get("apply")
        while isinstance(first, GradientHook) and first._observe is None:
            del self._optimizer.apply
            first = first._apply
            if isinstance(first, GradientHook):
                self._optimizer.apply = first

    def __call__(self, grads: Any, trainable_variables: Any = None) -> None:
        grads = list(grads)
        variables = list(self._optimizer._trainable_variables if trainable_variables is None else trainable_variables)
        if self._observe is not None:
            self._show(self._observe, grads, variables)
        self._apply(grads, variables)

    def _show(self, observe: Callable[[int, Any], None], grads: list[Any], variables: list[Any]) -> None:
        import tensorflow as tf

        pairs = [
            (self._numbers[id(variable)], tf.convert_to_tensor(gradient))
            for gradient, variable in zip(grads, variables, strict=True)
            if gradient is not None and id(variable) in self._numbers
        ]
        gradients = [gradient for _, gradient in pairs]
        context = tf.distribute.get_replica_context()
        if pairs and context is not None and context.num_replicas_in_sync > 1:
            gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        scale = self._optimizer.loss_scale_factor
        for (number, _), gradient in zip(pairs, gradients, strict=True):
            observe(number, gradient if scale is None else gradient / scale)
