"""Watches the user's training from inside. Imports Keras, so it is loaded only where a model is trained."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras

from edgeprune.errors import InputError
from edgeprune.sparsity.tickets.point import RewindPoint
from edgeprune.sparsity.tickets.state import TrainingState, capture


class SnapshotCallback(keras.callbacks.Callback):  # type: ignore[misc]
    """Takes the state of training at `point`, and the logs of the last epoch.

    A step is a batch; epochs and steps are counted on when `fit` trains in several calls. An epoch's state is taken
    when it ends, after its validation.

    point: None where only the logs are wanted.
    """

    def __init__(self, point: RewindPoint | None) -> None:
        super().__init__()
        self.point = point if point is not None and point.late else None
        self.state: TrainingState | None = None
        self.logs: dict[str, Any] = {}
        self.began = False
        self.epochs = 0
        self.steps = 0
        self._before = 0

    def on_train_begin(self, logs: Any = None) -> None:
        self.began = True

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._before = self.steps

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        # The last execution of an epoch may have fewer steps than the others; Keras counts them in full.
        known = self.params.get("steps")
        self.steps = self._before + (batch + 1 if known is None else min(batch + 1, known))
        if self.point is None or self.point.unit != "step" or self.state is not None:
            return
        if self.steps == self.point.number:
            self.state = capture(self.model, self.epochs)
        elif self.steps > self.point.number:
            raise InputError(
                f'find_ticket: rewind_to="{self.point}" is inside an execution of several steps; the training can be '
                f"stopped at step {self.steps} or with compile(steps_per_execution=1). "
                f"Received: steps_per_execution={self.model.steps_per_execution}"
            )

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.logs = dict(logs or {})
        self.epochs += 1
        if self.point == RewindPoint("epoch", self.epochs):
            self.state = capture(self.model, self.epochs)
        elif self.point == RewindPoint("step", self.steps) and self.state is not None:
            self.state = replace(self.state, epochs=self.epochs)  # the step was this epoch's last
