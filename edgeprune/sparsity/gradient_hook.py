"""Lets a criterion see the gradients of plain `fit`, inside the compiled train step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


class GradientHook:
    """Shows `observe(number, gradient)` every gradient of the given variables before the optimizer uses it.

    Takes the place of the optimizer's `apply`, on the instance; under mixed precision that of the inner optimizer,
    which gets gradients without loss scale, and finite ones only. Under a distribution strategy gradients are summed
    first.
    """

    def __init__(self, optimizer: Any, variables: Sequence[Any], observe: Callable[[int, Any], None]) -> None:
        self._optimizer = getattr(optimizer, "inner_optimizer", optimizer)
        self._numbers = {id(variable): number for number, variable in enumerate(variables)}
        self._observe = observe

    def attach(self) -> None:
        """Start watching, in place of a hook that a fit which failed has left. A compiled train step must be made
        again."""
        if isinstance(vars(self._optimizer).get("apply"), GradientHook):
            del self._optimizer.apply
        self._apply = self._optimizer.apply
        self._optimizer.apply = self

    def detach(self) -> None:
        """Give the optimizer back as it was."""
        if vars(self._optimizer).get("apply") is self:
            del self._optimizer.apply

    def __call__(self, grads: Any, trainable_variables: Any = None) -> None:
        import tensorflow as tf

        grads = list(grads)
        variables = list(self._optimizer._trainable_variables if trainable_variables is None else trainable_variables)
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
            self._observe(number, gradient if scale is None else gradient / scale)
        self._apply(grads, variables)
