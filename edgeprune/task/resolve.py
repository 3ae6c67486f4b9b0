"""Deciding loss, optimizer and metric: from the compiled model, else from the configuration, else from the labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeprune.data.labels import LabelKind, kind_of
from edgeprune.data.signature import Signature
from edgeprune.quiet import silence
from edgeprune.task.compiled import CompiledTask, per_output, read_compiled
from edgeprune.task.judge import Candidate, choose_metric
from edgeprune.task.loss import resolve_loss
from edgeprune.task.metric import TaskMetric
from edgeprune.task.optimizer import optimizer_maker
from edgeprune.task.options import TaskOptions

_UNCOMPILED = CompiledTask(losses=None, loss_weights=None, optimizer=None, metrics=())


@dataclass(frozen=True)
class Task:
    """What to train for and how to judge.

    Attributes:
        loss: one loss, or a list in output order (None for outputs without).
        loss_weights: None, or a list in output order.
        make_optimizer: makes a fresh optimizer; one can't be used for two models.
        make_metrics: makes fresh metrics in the form `compile` takes.
        metric: what the model is judged by.
        notes: what the user should know about the choices, one sentence each.
    """

    loss: Any
    loss_weights: list[float] | None
    make_optimizer: Callable[[], Any]
    make_metrics: Callable[[], Any]
    metric: TaskMetric
    notes: tuple[str, ...]

    def compile(self, keras_model: Any) -> None:
        """Compile a model for this task, with a fresh optimizer and fresh metrics."""
        keras_model.compile(
            optimizer=self.make_optimizer(),
            loss=self.loss,
            loss_weights=self.loss_weights,
            metrics=self.make_metrics(),
        )


def resolve_task(keras_model: Any, labels_example: Any, signature: Signature, options: TaskOptions) -> Task:
    """Find the task of a model.

    Args:
        keras_model: compiled or not; it is not changed.
        labels_example: y of a fair sample, e.g. `train.label_sample(1024, seed)`.
        signature: of the model.
        options: fill in what the compiled model doesn't say; the learning rate overrides it.

    Raises:
        InputError: an unknown name, a loss that doesn't fit the labels, a metric of unknown direction.
    """
    silence()
    labels = tuple(np.asarray(part) for part in signature.flat_outputs(labels_example))
    kinds = [kind_of(part, port) for part, port in zip(labels, signature.outputs, strict=True)]
    names = [port.name for port in signature.outputs]
    compiled = read_compiled(keras_model, names) or _UNCOMPILED
    notes = _unused_options(compiled, options)
    losses = _losses(compiled, options, labels, kinds, signature)
    weights = list(compiled.loss_weights) if compiled.loss_weights else None
    optimizer = compiled.optimizer if compiled.optimizer is not None else options.optimizer
    candidates = [
        Candidate(identifier, output) for output, entries in enumerate(compiled.metrics) for identifier in entries
    ]
    choice = choose_metric(candidates, options, losses, weights, labels, kinds, signature)
    single = len(names) == 1

    def make_metrics() -> Any:
        made: list[list[Any]] = [[] for _ in names]
        for output, maker in choice.makers:
            made[output].append(maker())
        return made[0] if single else made

    return Task(
        loss=losses[0] if single else losses,
        loss_weights=weights,
        make_optimizer=optimizer_maker(optimizer, options.learning_rate),
        make_metrics=make_metrics,
        metric=choice.metric,
        notes=(*notes, *choice.notes),
    )


def _losses(
    compiled: CompiledTask,
    options: TaskOptions,
    labels: tuple[np.ndarray, ...],
    kinds: list[LabelKind],
    signature: Signature,
) -> list[Any]:
    names = [port.name for port in signature.outputs]
    given = compiled.losses
    if given is None and options.loss is not None:
        given = per_output(options.loss, names, "loss")
    return [
        # A compiled model may leave outputs without a loss on purpose.
        None
        if given is not None and given[index] is None
        else resolve_loss(given[index] if given is not None else None, labels[index], kinds[index], port)
        for index, port in enumerate(signature.outputs)
    ]


def _unused_options(compiled: CompiledTask, options: TaskOptions) -> list[str]:
    notes = []
    if options.loss is not None and compiled.losses is not None:
        notes.append(f'loss "{options.loss}" is not used: the model is compiled with a loss of its own')
    if options.optimizer is not None and compiled.optimizer is not None:
        notes.append(f'optimizer "{options.optimizer}" is not used: the model is compiled with an optimizer of its own')
    return notes
