"""A model's loss with a teacher's part, and the checks that the two models fit each other.

Loaded only where a model is distilled: it imports Keras.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops, tree

from edgeprune.data.signature import Port, Signature, shapes_agree, signature_of
from edgeprune.errors import InputError
from edgeprune.recover.distillation import Distillation
from edgeprune.recover.soft_targets import SoftTargetLoss, soft_target
from edgeprune.task.compiled import CompiledTask, per_output, read_compiled


class LossWithTeacher:
    """Stands in for the `compute_loss` of a compiled model.

    Raises:
        InputError: the model isn't compiled, or the teacher isn't built or doesn't fit it. A subclassed model has no
            known inputs and outputs: for one the first call raises it, still before any weight has changed.
    """

    def __init__(self, model: Any, distillation: Distillation) -> None:
        _check_models(model, distillation.teacher)
        self._model = model
        self._distillation = distillation
        self._own = model.compute_loss
        self._own_takes_training = model._compute_loss_has_training_arg
        # Only of Keras's own compute_loss is it known that it adds regularization and the like.
        self._adds_losses = getattr(self._own, "__func__", None) is keras.Model.compute_loss
        self._teacher_ports = _outputs(_signature(distillation.teacher))
        self._ports = _outputs(_signature(model))
        self._parts = None if self._ports is None else self._made_parts(self._ports)

    def __call__(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """The loss of one batch, a scalar; in validation the model's own alone."""
        weight = self._distillation.weight
        if not training:
            return self._own_loss(x, y, y_pred, sample_weight, training)
        if x is None:
            raise InputError(
                f"the train_step of {type(self._model).__name__} calls compute_loss without x, which the teacher "
                "needs; call self.compute_loss(x=x, y=y, y_pred=y_pred)"
            )
        taught = self._distance(x, y_pred, sample_weight)
        if self._adds_losses:
            for extra in self._model.losses:
                taught += ops.cast(self._model._aggregate_additional_loss(extra), taught.dtype)
        if weight == 1 and y is None:
            return taught
        own = self._own_loss(x, y, y_pred, sample_weight, training)  # for weight 1 only to be shown by fit
        return taught if weight == 1 else (1 - weight) * own + weight * ops.cast(taught, own.dtype)

    def _own_loss(self, x: Any, y: Any, y_pred: Any, sample_weight: Any, training: bool) -> Any:
        more = {"training": training} if self._own_takes_training else {}
        return self._own(x, y, y_pred, sample_weight, **more)

    def _distance(self, x: Any, y_pred: Any, sample_weight: Any) -> Any:
        """The distillation losses of all outputs together, a float32 scalar."""
        student = tree.flatten(y_pred)
        teacher = tree.flatten(self._distillation.teacher(x, training=False))
        _check_shapes("output", [value.shape[1:] for value in student], [value.shape[1:] for value in teacher])
        if self._ports is None or self._parts is None:
            names = sorted(y_pred) if isinstance(y_pred, dict) else [str(number) for number in range(len(student))]
            self._ports = tuple(
                Port(name, tuple(value.shape[1:]), "float32") for name, value in zip(names, student, strict=True)
            )
            self._parts = self._made_parts(self._ports)
        weights = per_output(sample_weight, [port.name for port in self._ports], "sample_weight")
        total = ops.zeros((), "float32")
        for part, theirs, ours, weight in zip(self._parts, teacher, student, weights, strict=True):
            if part is not None:
                loss, loss_weight = part
                total += loss_weight * loss(theirs, ours, weight)
        return total

    def _made_parts(self, ports: Sequence[Port]) -> list[tuple[SoftTargetLoss, float] | None]:
        """Per output its distillation loss and its loss weight; None where others have a loss and it has none."""
        given = self._distillation
        compiled: CompiledTask | None = read_compiled(self._model, [port.name for port in ports])
        losses = (compiled and compiled.losses) or (None,) * len(ports)
        loss_weights = (compiled and compiled.loss_weights) or (1.0,) * len(ports)
        teachers = [None] * len(ports) if self._teacher_ports is None else [p.activation for p in self._teacher_ports]
        parts: list[tuple[SoftTargetLoss, float] | None] = []
        for port, loss, loss_weight, teacher in zip(ports, losses, loss_weights, teachers, strict=True):
            if loss is None and any(other is not None for other in losses):
                parts.append(None)
                continue
            width = port.shape[-1] if port.shape else 1
            target = soft_target(loss, given.kind, port.activation, teacher, width, port.name)
            parts.append((SoftTargetLoss(target, given.temperature), loss_weight))
        return parts


def _check_models(model: Any, teacher: Any) -> None:
    """What can be known before the first batch.

    Raises:
        InputError: see LossWithTeacher.
    """
    if not isinstance(teacher, keras.Model):
        raise InputError(f"the teacher must be a Keras 3 model; received {type(teacher).__name__}")
    if not getattr(model, "compiled", False):
        raise InputError("the model to distill into isn't compiled; call model.compile(...) first")
    if not teacher.built:
        raise InputError("the teacher isn't built, so it has no weights; train or load it, or call it once on a batch")
    if teacher is model:
        raise InputError("the teacher is the model itself; give another model, such as a copy from before pruning")
    own = {id(variable) for variable in model.variables}
    shared = [variable.path for variable in teacher.variables if id(variable) in own]
    if shared:
        raise InputError(
            f"the teacher shares {len(shared)} variables with the model, such as {shared[0]}; "
            "give a copy: keras.models.clone_model, then set_weights"
        )
    ours, theirs = _signature(model), _signature(teacher)
    if ours is not None and theirs is not None:
        for what in ("input", "output"):
            shapes = ([port.shape for port in getattr(side, f"{what}s")] for side in (ours, theirs))
            _check_shapes(what, *shapes)


def _check_shapes(what: str, student: Sequence[Any], teacher: Sequence[Any]) -> None:
    if len(student) != len(teacher):
        raise InputError(
            f"the teacher has {len(teacher)} {what}s and the model {len(student)}; give a teacher with the same {what}s"
        )
    for number, (ours, theirs) in enumerate(zip(student, teacher, strict=True)):
        if not shapes_agree(tuple(ours), tuple(theirs)):
            raise InputError(
                f"{what} {number} has shape {tuple(theirs)} in the teacher and {tuple(ours)} in the model, without the "
                f"batch axis; give a teacher with the same {what}s"
            )


def _signature(model: Any) -> Signature | None:
    """None for a subclassed model."""
    try:
        return signature_of(model)
    except InputError:
        return None


def _outputs(signature: Signature | None) -> tuple[Port, ...] | None:
    return None if signature is None else signature.outputs
