"""Knowledge distillation inside plain `model.fit`: while it lasts, the model's `compute_loss` has a teacher's part.

The model's class, layers and variables stay as they are; the teacher is neither tracked nor saved. Loaded only where a
model is distilled: it imports Keras.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras

from edgeprune.errors import InputError
from edgeprune.recover.distillation import Distillation
from edgeprune.recover.teacher_loss import LossWithTeacher


class DistillationCallback(keras.callbacks.Callback):
    """Trains the model of `fit` on (1 - weight) * its own loss + weight * the distance to a teacher's outputs.

        model.fit(x, y, callbacks=[DistillationCallback(dense_model, temperature=4.0, weight=0.5)])

    Validation, metrics and the saved model are as without. `Distillation` explains the arguments,
    `edgeprune.recover.soft_targets` the distance. Sample weights count in both parts. The distances of several outputs
    are added up by the compiled loss_weights. Regularization and `add_loss` keep their full strength.

    Raises:
        InputError: at once for a value out of range; when training begins for models that don't fit each other.
    """

    def __init__(self, teacher: Any, temperature: float = 4.0, weight: float = 0.5, kind: str = "auto") -> None:
        super().__init__()
        self.distillation = Distillation(teacher, temperature, weight, kind)
        self._scope = contextlib.ExitStack()

    def on_train_begin(self, logs: Any = None) -> None:
        self._scope.close()  # of a training that broke off
        self._scope.enter_context(distilling(self.model, self.distillation))
        self._scope.enter_context(_until_next_fit(self.model, self._scope))

    def on_train_end(self, logs: Any = None) -> None:
        self._scope.close()


@contextlib.contextmanager
def distilling(model: Any, distillation: Distillation) -> Iterator[None]:
    """Every `fit` of the compiled `model` inside has the teacher's part in its loss, and all share one trace.

    Raises:
        InputError: the model isn't compiled, is being distilled already, or doesn't fit the teacher.
    """
    if isinstance(vars(model).get("compute_loss"), LossWithTeacher):
        raise InputError("the model is being distilled already; pass one DistillationCallback to fit")
    loss = LossWithTeacher(model, distillation)
    if distillation.weight == 0:
        yield
        return
    # Keras asks only once, when a model is made, whether its compute_loss takes `training`.
    with _attributes(model, {"compute_loss": loss, "_compute_loss_has_training_arg": True}):
        model.make_train_function(force=True)
        try:
            yield
        finally:
            model.train_function = None  # the next fit makes its own


@contextlib.contextmanager
def _until_next_fit(model: Any, scope: contextlib.ExitStack) -> Iterator[None]:
    """Close `scope` when another training begins: a fit that raised never came to on_train_end.

    `fit` asks for the train function once, before its callbacks begin; callbacks that change the model force a new one.
    """
    make = model.make_train_function

    def make_train_function(force: bool = False) -> Any:
        if not force:
            scope.close()
        return make(force=force)

    with _attributes(model, {"make_train_function": make_train_function}):
        yield


@contextlib.contextmanager
def _attributes(model: Any, values: dict[str, Any]) -> Iterator[None]:
    """Set attributes of the instance; afterwards it has those that it had."""
    before = {name: vars(model)[name] for name in values if name in vars(model)}
    for name, value in values.items():
        setattr(model, name, value)
    try:
        yield
    finally:
        for name in values:
            if name in before:
                setattr(model, name, before[name])
            else:
                delattr(model, name)
