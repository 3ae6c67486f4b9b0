"""The distillation loss of one output.

Classifiers: T^2 * KL(softmax(teacher / T) || softmax(student / T)), so that its gradients keep their size whatever T
(Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015). Sigmoid outputs: the same for each, with
its two classes, averaged over the outputs as binary crossentropy is. Anything else: the mean squared error.

Loaded only where a model is distilled: it imports Keras.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import keras
from keras import ops

from edgeprune.data.loss_key import loss_key
from edgeprune.data.signature import Activation
from edgeprune.errors import InputError
from edgeprune.task.loss import BINARY_LOSSES, CATEGORICAL_LOSSES, REGRESSION_LOSSES, SPARSE_LOSSES

# attached: probabilities straight out of softmax or sigmoid, to which Keras attaches the logits they came from
Form = Literal["logits", "probabilities", "attached"]


@dataclass(frozen=True)
class SoftTarget:
    """How one output is compared with the teacher's."""

    family: Literal["softmax", "sigmoid", "values"]
    student: Form
    teacher: Form


def soft_target(
    loss: Any, kind: str, student: Activation | None, teacher: Activation | None, width: int | None, name: str
) -> SoftTarget:
    """Decide for one output, of the last activations `student` and `teacher` and `width` values on its last axis.

    Whether the student gives logits is what its compiled loss takes it for, else whether it ends in softmax or sigmoid.
    A teacher with the same activation gives what the student gives.

    Raises:
        InputError: nothing says whether the output `name` is a classifier's.
    """
    key = loss_key(loss)
    family = _family(key, kind, student, width, name)
    if key in SPARSE_LOSSES | CATEGORICAL_LOSSES | BINARY_LOSSES:
        logits = bool(getattr(loss, "from_logits", False))
    else:
        logits = student not in ("softmax", "sigmoid")
    own: Form = "logits" if logits else "attached" if student == family else "probabilities"
    if teacher == student:
        return SoftTarget(family, own, own)
    if teacher is None:
        return SoftTarget(family, own, "logits" if logits else "probabilities")
    its: Form = "logits" if teacher == "linear" else "attached" if teacher == family else "probabilities"
    return SoftTarget(family, own, its)


def _family(
    key: str, kind: str, activation: Activation | None, width: int | None, name: str
) -> Literal["softmax", "sigmoid", "values"]:
    if kind == "regression" or (kind == "auto" and key in REGRESSION_LOSSES):
        return "values"
    if key in SPARSE_LOSSES | CATEGORICAL_LOSSES:
        return "softmax"
    if key in BINARY_LOSSES:
        return "sigmoid"
    if activation in ("softmax", "sigmoid"):
        return "softmax" if activation == "softmax" else "sigmoid"
    if kind == "classification":
        return "sigmoid" if width == 1 else "softmax"
    if activation == "linear":
        return "values"
    raise InputError(
        f'neither the loss nor the last layer says whether the output "{name}" is a classifier\'s; give '
        'kind="classification" or kind="regression"'
    )


class SoftTargetLoss(keras.losses.Loss):
    """The loss of one output, averaged over the batch by Keras, which applies sample weights, masks and the number of
    replicas. Computed in float32 whatever the models compute in.

    Both outputs: (batch, ..., values), float; the teacher's comes first, as labels do.
    """

    def __init__(self, target: SoftTarget, temperature: float) -> None:
        super().__init__(name="distillation", dtype="float32")
        self._target = target
        self._temperature = temperature

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        target = self._target
        mask = getattr(y_pred, "_keras_mask", None)
        if target.family != "values":
            y_true = _logits(y_true, target.teacher, target.family)
            y_pred = _logits(y_pred, target.student, target.family)
            if mask is not None:
                y_pred._keras_mask = mask
        return super().__call__(ops.stop_gradient(y_true), y_pred, sample_weight)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each sample (and position): (batch, ...) float32."""
        if len(y_pred.shape) == 1:
            y_true, y_pred = ops.expand_dims(y_true, -1), ops.expand_dims(y_pred, -1)
        if self._target.family == "values":
            return ops.mean(ops.square(y_pred - y_true), axis=-1)
        teacher, student = y_true / self._temperature, y_pred / self._temperature
        if self._target.family == "softmax":
            divergence = ops.sum(_part(ops.log_softmax(teacher), ops.log_softmax(student)), axis=-1)
        else:
            yes = _part(ops.log_sigmoid(teacher), ops.log_sigmoid(student))
            no = _part(ops.log_sigmoid(-teacher), ops.log_sigmoid(-student))
            divergence = ops.mean(yes + no, axis=-1)
        return self._temperature**2 * divergence


def _part(teacher: Any, student: Any) -> Any:
    """The summands of a Kullback-Leibler divergence, of log-probabilities."""
    return ops.exp(teacher) * (teacher - student)


def _logits(output: Any, form: Form, family: str) -> Any:
    """The logits behind an output, as float32."""
    if form == "attached":
        # Keras's own crossentropies take these too: a float16 probability of 1e-6 has no usable gradient.
        attached = getattr(output, "_keras_logits", None)
        output, form = (output, "probabilities") if attached is None else (attached, "logits")
    values = ops.cast(output, "float32")
    if form == "logits":
        return values
    least = keras.config.epsilon()
    if family == "softmax":
        return ops.log(ops.maximum(values, least))
    values = ops.clip(values, least, 1.0 - least)
    return ops.log(values) - ops.log(1.0 - values)
