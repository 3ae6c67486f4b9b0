"""Masks on a model's variables: whatever an optimizer does to a pruned weight is undone in the same compiled step.

A mask is a constraint of the variable, which Keras applies after every update inside the train step: no wrapper, no
Python per step, nothing in a saved file. Memory: one byte a masked weight, and where pruned weights may come back
four more for the values they had.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Sequence
from types import FrameType
from typing import Any

import numpy as np


class MaskConstraint:
    """A Keras constraint that keeps pruned weights at zero; a constraint that the variable had before runs first.

    mask: tf.Variable, bool, the shape of the variable, True = kept.
    """

    def __init__(self, model: Any, variable: Any, inner: Any) -> None:
        import tensorflow as tf

        self._model = weakref.ref(model)
        self._variable = variable
        self.inner = inner
        with model.distribute_strategy.scope():
            self.mask = tf.Variable(tf.ones(variable.shape, tf.bool), trainable=False, name="pruning_mask")

    def __call__(self, value: Any) -> Any:
        import tensorflow as tf

        self._mask_average()
        tensor = tf.convert_to_tensor(value if self.inner is None else self.inner(value))
        return tf.where(self.mask, tensor, tf.zeros((), tensor.dtype))

    def _mask_average(self) -> None:
        """The moving average of an optimizer with `use_ema` takes the place of the weights at the end of training;
        it is updated before constraints are."""
        import tensorflow as tf

        optimizer = _calling_optimizer()
        if optimizer is None or not optimizer.use_ema:
            return
        average = optimizer._model_variables_moving_average[optimizer._get_variable_index(self._variable)]
        value = tf.convert_to_tensor(average)
        average.assign(tf.where(self.mask, value, tf.zeros((), value.dtype)))


def _calling_optimizer() -> Any:
    """The optimizer that is applying constraints; None when something else calls one.

    Keras hands a constraint nothing but the variable, and any optimizer may train it: that of a larger model, or one of
    a loop of the user's own. So it is looked up where the call comes from.
    """
    import keras

    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        owner = frame.f_locals.get("self")
        if isinstance(owner, keras.optimizers.Optimizer):
            return owner
        frame = frame.f_back
    return None


class MaskSet:
    """The masks of one model, attached to its variables.

    Args:
        variables: (path, variable) of what is masked.
        regrow: keep the values of pruned weights aside, so that they can come back.
    """

    def __init__(self, model: Any, variables: Sequence[tuple[str, Any]], *, regrow: bool = False) -> None:
        self.paths = tuple(path for path, _ in variables)
        self.variables = tuple(variable for _, variable in variables)
        self.masks = tuple(_attach(model, variable).mask for variable in self.variables)
        self.aside: tuple[Any, ...] = ()
        if regrow:
            import keras

            with model.distribute_strategy.scope():
                self.aside = tuple(
                    keras.Variable(np.asarray(v), trainable=False, aggregation="mean", name="pruned_value")
                    for v in self.variables
                )

    def keep(self) -> list[np.ndarray]:
        """The masks as bool arrays, True = kept, of the variables' shapes."""
        return [mask.numpy() for mask in self.masks]

    def assign(self, keep: Sequence[np.ndarray]) -> None:
        """Set the masks and zero what they prune; with `regrow`, kept weights that were pruned get their old value."""
        import tensorflow as tf

        for number, (variable, mask, kept) in enumerate(zip(self.variables, self.masks, keep, strict=True)):
            if np.array_equal(mask.numpy(), kept):
                continue
            value = self.current(number)
            if self.aside:
                self.aside[number].assign(value)
            mask.assign(kept)
            variable.assign(tf.where(mask, value, tf.zeros((), value.dtype)))

    def apply(self) -> None:
        """Zero pruned weights again, after something other than the optimizer has written to them."""
        for variable, mask in zip(self.variables, self.masks, strict=True):
            value = np.asarray(variable)
            kept = mask.numpy()
            if np.any(value[~kept]):
                variable.assign(np.where(kept, value, np.zeros((), value.dtype)))

    def current(self, number: int) -> Any:
        """The value of a variable with pruned weights as they were when they were pruned, as a tensor."""
        import tensorflow as tf

        value = tf.convert_to_tensor(self.variables[number])
        if not self.aside:
            return value
        return tf.where(self.masks[number], value, tf.convert_to_tensor(self.aside[number]))


def _attach(model: Any, variable: Any) -> MaskConstraint:
    found = variable.constraint
    if not isinstance(found, MaskConstraint) or found._model() is not model:
        inner = found.inner if isinstance(found, MaskConstraint) else found
        found = MaskConstraint(model, variable, inner)
        variable.constraint = found
        # A train step that was compiled before would go on without the mask.
        model.train_function = None
    return found


def masked_variables(model: Any) -> list[tuple[Any, MaskConstraint]]:
    """The variables of a model that have a mask."""
    return [(v, v.constraint) for v in model.variables if isinstance(v.constraint, MaskConstraint)]


def detach(model: Any) -> None:
    """Remove all masks; zeros are free to change from then on."""
    for variable, constraint in masked_variables(model):
        variable.constraint = constraint.inner
    model.train_function = None


def zero_masks(values: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Masks that keep exact zeros where they are. A kernel of nothing but zeros is not pruned, it was made so."""
    return [value != 0 if np.any(value) else np.ones(value.shape, dtype=bool) for value in values]
