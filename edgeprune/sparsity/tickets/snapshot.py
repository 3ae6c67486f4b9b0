"""Watches the user's training from inside."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from edgeprune.errors import InputError
from edgeprune.sparsity.tickets.point import RewindPoint
from edgeprune.sparsity.tickets.state import TrainingState, capture


class Snapshot:
    """Takes the state of training at `point`, and the logs of the last epoch.

    A step is a batch; epochs and steps are counted on when `fit` trains in several calls. An epoch's state is taken
    when it ends, after its validation.

    point: None where only the logs are wanted. callback: what `fit` is given.
    """

    def __init__(self, point: RewindPoint | None) -> None:
        import keras

        self.point = point if point is not None and point.late else None
        self.state: TrainingState | None = None
        self.logs: dict[str, Any] = {}
        self.began = False
        self.epochs = 0
        self.steps = 0
        self._before = 0
        self.callback: Any = keras.callbacks.LambdaCallback(
            on_train_begin=self._train_begins,
            on_epoch_begin=self._epoch_begins,
            on_train_batch_end=self._batch_ends,
            on_epoch_end=self._epoch_ends,
        )

    def _train_begins(self, logs: Any) -> None:
        self.began = True

    def _epoch_begins(self, epoch: int, logs: Any) -> None:
        self._before = self.steps

    def _batch_ends(self, batch: int, logs: Any) -> None:
        # The last execution of an epoch may have fewer steps than the others; Keras counts them in full.
        known = self.callback.params.get("steps")
        self.steps = self._before + (batch + 1 if known is None else min(batch + 1, known))
        if self.point is None or self.point.unit != "step" or self.state is not None:
            return
        if self.steps == self.point.number:
            self.state = capture(self.callback.model, self.epochs)
        elif self.steps > self.point.number:
            raise InputError(
                f'find_ticket: rewind_to="{self.point}" is inside an execution of several steps; the training can be '
                f"stopped at step {self.steps} or with compile(steps_per_execution=1). "
                f"Received: steps_per_execution={self.callback.model.steps_per_execution}"
            )

    def _epoch_ends(self, epoch: int, logs: Any) -> None:
        self.logs = dict(logs or {})
        self.epochs += 1
        if self.point == RewindPoint("epoch", self.epochs):
            self.state = capture(self.callback.model, self.epochs)
        elif self.point == RewindPoint("step", self.steps) and self.state is not None:
            self.state = replace(self.state, epochs=self.epochs)  # the step was this epoch's last
