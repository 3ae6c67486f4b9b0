"""Pruning as a callback of plain `model.fit`. Imports Keras, so it is loaded only where a model is trained."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import keras

from edgeprune.errors import InputError, nearest
from edgeprune.sparsity.channels import channel_ranking
from edgeprune.sparsity.criteria.base import Evidence
from edgeprune.sparsity.criteria.table import as_criterion
from edgeprune.sparsity.patterns import CHANNELS, parse_pattern
from edgeprune.sparsity.pruner import LayerSparsity, Pruner
from edgeprune.sparsity.ranking import Ranking, WeightRanking
from edgeprune.sparsity.schedules import Ramp, TrainingLength, as_schedule
from edgeprune.sparsity.selection import per_layer, select
from edgeprune.sparsity.watch import CsvLog, TensorBoardLog, table
from edgeprune.sparsity.weights import prunable_weights

SCOPES = ("global", "layer")
_WHERE = "PruningCallback"


class PruningCallback(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Prunes the model while `fit` trains it; pruned weights are exactly zero after every step and stay so afterwards.

        model.fit(..., callbacks=[PruningCallback(PolynomialSchedule(0.9, begin=0.1, end=0.7), pattern="2:4")])

    The model stays the user's own: no wrappers, nothing in its saved file. Masks stay on it after training, so a later
    `fit` keeps the zeros; `unfreeze_sparsity` takes them off. After loading a saved model call `freeze_sparsity`, or
    train on with this callback, which takes zeros for pruned weights. Put it last where other callbacks set weights.
    A training that goes on with `initial_epoch` has the ramp of the whole one; scores that are learned begin anew.
    Early stopping should start after the ramp (`start_from_epoch`): a checkpoint from before it has fewer zeros.

    Args:
        schedule: when and how much: a schedule, a sparsity in [0, 1) from the first step on, or a `PruningSchedule` of
            TensorFlow's toolkit. An N:M pattern fixes the sparsity; the schedule then gives the pace. For "channels" it
            is the share of channels.
        criterion: what a weight is worth: magnitude, lamp, movement, taylor, snip, grasp, apoz, random, or an object
            such as `Movement(mode="soft")`.
        pattern: "unstructured", N:M along the axis that TFLite stores innermost ("2:4"), a block of outputs x inputs
            ("1x4"), or "channels", which masks whole channels for `remove_pruned_channels`. Where the axis isn't
            a multiple, the last group is shorter, as if padded with zeros.
        scope: "global" ranks all weights together, so that small layers keep more; "layer" gives every kernel the
            schedule's sparsity, as TensorFlow's toolkit does.
        include, exclude: layer names, paths, class names, layer classes, regular expressions (compiled, or as text
            after "re:"). Default: all kernels of trainable layers but depthwise ones and embeddings.
        layer_sparsity: {filter: final sparsity} for layers with one of their own.
        min_weights: weights of each kernel that always stay.
        data: for criteria that need it (snip, grasp, apoz): (x, y), or batches of it; at most 2,048 samples are read.
        batch_size: of `data` given as arrays.
        csv: file that gets a row of sparsities an epoch. tensorboard: folder for scalars.
        seed: of the random criterion.

    Raises:
        InputError: at once for a wrong argument; before the first step for one that doesn't fit model or training.
    """

    def __init__(
        self,
        schedule: Any,
        criterion: Any = "magnitude",
        pattern: str = "unstructured",
        *,
        scope: str = "global",
        include: Any = None,
        exclude: Any = None,
        layer_sparsity: Any = None,
        min_weights: int = 1,
        data: Any = None,
        batch_size: int = 32,
        csv: str | Path | None = None,
        tensorboard: str | Path | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.schedule = as_schedule(schedule)
        self.criterion = as_criterion(criterion)
        self.pattern = pattern
        self._units = None if pattern == CHANNELS else parse_pattern(pattern)
        if scope not in SCOPES:
            raise InputError(f"{_WHERE}: unknown scope {scope!r}; {nearest(str(scope), SCOPES)}")
        for name, value, least in (("min_weights", min_weights, 0), ("batch_size", batch_size, 1), ("seed", seed, 0)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise InputError(f"{_WHERE}: {name} must be a whole number of at least {least}. Received: {value!r}")
        for name, path in (("csv", csv), ("tensorboard", tensorboard)):
            if path is not None and not isinstance(path, (str, Path)):
                raise InputError(f"{_WHERE}: {name} must be a path. Received: {path!r}")
        if self._units is None and min_weights != 1:
            raise InputError(f'{_WHERE}: min_weights has no meaning for pattern="channels"; leave it out')
        if layer_sparsity and self._units is not None and self._units.fixes_sparsity:
            raise InputError(
                f'{_WHERE}: the pattern "{pattern}" fixes the sparsity of every layer; use exclude instead'
            )
        if self.criterion.needs_data and data is None:
            raise InputError(
                f'{_WHERE}: the criterion "{self.criterion.name}" needs data; pass data=(x, y), or batches of it'
            )
        self.scope, self.include, self.exclude = scope, include, exclude
        self.layer_sparsity, self.min_weights = layer_sparsity, min_weights
        self.data, self.batch_size, self.seed = data, batch_size, seed
        self.csv, self.tensorboard = csv, tensorboard
        self.pruner: Pruner | None = None

    # What Keras calls

    def on_train_begin(self, logs: Any = None) -> None:
        model = self.model
        if not getattr(model, "compiled", False):
            raise InputError(f'{_WHERE}: the model "{model.name}" is not compiled; call model.compile(...) before fit')
        if self.pruner is not None:
            self.pruner.stop_watching()  # of a fit that failed
        steps, epochs = self.params.get("steps"), self.params.get("epochs")
        total = steps * epochs if steps and epochs else None
        self._steps_per_epoch = steps
        self._ramp: Ramp = self.schedule.bind(TrainingLength(total, steps))
        if self.criterion.needs_gradients and self._ramp.sparsity(0) > 0:
            raise InputError(
                f'{_WHERE}: the criterion "{self.criterion.name}" learns from training steps, but the schedule prunes '
                "before the first one; give it a later begin"
            )
        ranking = self._ranking()
        self._csv = None if self.csv is None else CsvLog(self.csv, [path for path, _ in ranking.masked])
        self._board = None if self.tensorboard is None else TensorBoardLog(self.tensorboard)
        scorer = self.criterion.bind(Evidence(model, ranking.scored, self.data, self.batch_size, self.seed))
        self.pruner = Pruner(model, ranking, scorer, regrows=self.criterion.regrows)
        self.pruner.watch_gradients(self.params)
        model.make_train_function(force=True)
        self._updated: int | None = None
        self._pruned = True
        self._before = 0
        self._step = -1

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if self._steps_per_epoch:
            self._before = epoch * self._steps_per_epoch
        if self._step < 0:
            if epoch and not self._steps_per_epoch:
                raise InputError(
                    f"{_WHERE}: the steps of an epoch are not known, so neither is where this training goes on; pass "
                    "steps_per_epoch to fit"
                )
            if self._csv is not None:
                self._csv.begin(epoch)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        # With steps_per_execution several steps run before the next call: none of their updates comes late.
        update = self._ramp.last_update(self._before + batch + self.model.steps_per_execution - 1)
        if update is not None and update != self._updated:
            self._prune(update)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        # Counted here: where the data end unannounced, Keras begins one more step than it ends.
        self._step = self._before + batch
        if logs is not None:
            logs["sparsity"] = self._running().sparsity

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        pruner = self._running()
        self._before = self._step + 1
        if logs is not None:
            logs["sparsity"] = pruner.sparsity
        if self._csv is not None:
            self._csv.add(epoch, self._step, self._ramp.sparsity(self._step), pruner.sparsity, pruner.layers)
        self._show(self._step)

    def on_train_end(self, logs: Any = None) -> None:
        pruner = self._running()
        pruner.masks.apply()
        pruner.stop_watching()
        self.model.train_function = None
        if self._board is not None:
            self._board.close()
        self._warn_of_less()

    # What users ask

    @property
    def sparsity(self) -> float:
        """Share of pruned weights over all that take part."""
        return self._running().sparsity

    @property
    def layers(self) -> tuple[LayerSparsity, ...]:
        """Path, weights and kept weights of every masked kernel."""
        return self._running().layers

    def summary(self, print_fn: Any = print) -> None:
        """Print sparsity per layer as a table."""
        print_fn(table(self.layers))

    # Parts

    def _running(self) -> Pruner:
        if self.pruner is None:
            raise InputError(f"{_WHERE}: no training has begun yet; pass the callback to model.fit first")
        return self.pruner

    def _ranking(self) -> Ranking:
        globally = self.scope == "global"
        if self._units is None:
            return channel_ranking(self.model, self.include, self.exclude, self.layer_sparsity, globally, _WHERE)
        weights = select(prunable_weights(self.model), self.include, self.exclude, where=_WHERE)
        own = per_layer(weights, self.layer_sparsity or {}, where=_WHERE)
        return WeightRanking(weights, self._units, tuple(own), globally, self.min_weights)

    def _prune(self, update: int) -> None:
        sparsity = self._ramp.sparsity(update)
        pace = sparsity / self._ramp.final if self._ramp.final else 0.0
        self._pruned = self._running().prune(pace, sparsity)
        self._updated = update
        self._show(update)

    def _warn_of_less(self) -> None:
        """Say when a training has ended before its sparsity was reached."""
        target = self._ramp.sparsity(self._step)
        if target < self._ramp.final:
            reason = f"the training ended at step {self._step}, before the schedule did"
        elif not self._pruned and self._running().sparsity < target:
            reason = (
                f'the criterion "{self.criterion.name}" saw no gradient; does another optimizer train these layers?'
            )
        elif self._held_back():
            reason = f"min_weights={self.min_weights} held weights back"
        else:
            return
        warnings.warn(
            f"{_WHERE}: the sparsity is {self._running().sparsity:.1%} instead of the {self._ramp.final:.1%} that "
            f"the schedule ends with: {reason}",
            stacklevel=2,
        )

    def _held_back(self) -> bool:
        return any(layer.kept <= self.min_weights for layer in self.layers) and self.min_weights > 1

    def _show(self, step: int) -> None:
        pruner = self._running()
        if self._board is not None:
            self._board.add(step, self._ramp.sparsity(step), pruner.sparsity, pruner.layers)
