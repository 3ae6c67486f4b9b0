"""Fine-tuning after surgery: early stop, best weights kept, one checkpoint per epoch.

Every epoch starts from recorded state only (weights, optimizer, seed + epoch), so a run that was
killed and continued ends with the same weights as an undisturbed one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from edgeprune.data.split import Split
from edgeprune.errors import InputError
from edgeprune.progress import progress
from edgeprune.recover import checkpoint
from edgeprune.recover.checkpoint import Progress
from edgeprune.recover.distillation import Distillation
from edgeprune.task.resolve import Task


@dataclass(frozen=True)
class Recipe:
    """How to fine-tune. The learning rate falls from its start to 1 % of it along a half cosine over all steps; without
    `decay` it stays."""

    epochs: int
    batch_size: int
    seed: int
    decay: bool = True

    @property
    def patience(self) -> int:
        """Epochs without a better metric before training stops. The last, slow steps help most, so more than half."""
        return max(5, self.epochs // 2 + 1)


class Pruning(Protocol):
    """What prunes a model while it is trained."""

    def begin_epoch(self) -> None:
        """Before an epoch, with the weights of the last one in the model: all there is to continue from."""

    def before_step(self, part: float) -> None:
        """Before a train step. part: how much of the training is done, in [0, 1); the share of whole epochs where the
        data don't tell how many steps they are."""


def finetune(
    model: Any,
    train: Split,
    recipe: Recipe,
    task: Task,
    *,
    evaluate: Callable[[Any], float],
    state: Path,
    title: str,
    distillation: Distillation | None = None,
    pruning: Pruning | None = None,
) -> Progress:
    """Train `model` in place and leave its best weights in it, the untrained ones included.

    With `pruning` all epochs are trained and the last weights stay: earlier ones are less pruned.

    Args:
        evaluate: takes the model, returns the validation metric.
        state: checkpoint file; continued from when it exists.
        distillation: what a teacher adds to the loss. The train function is traced once for all epochs, as without.

    Raises:
        InputError: the loss became NaN or infinite in the first epoch, or the checkpoint is damaged.
    """
    import keras

    higher_is_better = task.metric.higher_is_better
    model.compile(optimizer=task.make_optimizer(), loss=task.loss, loss_weights=task.loss_weights, jit_compile=False)
    optimizer = model.optimizer  # under mixed precision one that wraps the given one
    optimizer.build(model.trainable_variables)
    _seed_dropout(model, recipe.seed)
    # read before a checkpoint overwrites it, so that every run computes the same rates
    start_rate = None if _is_schedule(optimizer) else float(np.asarray(optimizer.learning_rate))
    everything = [*model.variables, *optimizer.variables]
    if state.exists():
        done, best = checkpoint.restore(state, everything, len(model.weights))
    else:
        done, best = Progress(0, 0, (evaluate(model),)), model.get_weights()

    steps = _length(train.epoch(recipe.batch_size, recipe.seed))
    total = None if steps is None else recipe.epochs * steps
    with _taught(model, distillation), progress(title, total) as advance:
        advance(done.epochs_done * (steps or 0), "")
        while done.epochs_done < recipe.epochs and done.epochs_done - done.best_epoch < recipe.patience:
            epoch = done.epochs_done
            keras.utils.set_random_seed(recipe.seed + epoch)
            if pruning is not None:
                pruning.begin_epoch()
            note = f"best {_best(done, higher_is_better):.4f}"

            def before_step(step: int, logs: Any, epoch: int = epoch) -> None:
                part = (epoch + (step / steps if steps else 0.0)) / recipe.epochs
                if pruning is not None:
                    pruning.before_step(part)
                if start_rate is not None and recipe.decay:
                    optimizer.learning_rate.assign(start_rate * _cosine(part))

            def after_step(step: int, logs: Any, note: str = note) -> None:
                advance(1, note)

            every_step = keras.callbacks.LambdaCallback(on_train_batch_begin=before_step, on_train_batch_end=after_step)
            order = train.epoch(recipe.batch_size, recipe.seed + epoch)
            history = model.fit(order, epochs=1, verbose=0, callbacks=[every_step], shuffle=False)
            if not math.isfinite(history.history["loss"][-1]):
                if epoch == 0:
                    raise InputError(
                        f"the training loss became {history.history['loss'][-1]} in the first epoch; lower "
                        "[training] learning_rate, or check the loss and the labels"
                    )
                break
            metric = evaluate(model)
            best_so_far = _best(done, higher_is_better)
            better = pruning is not None or (metric > best_so_far if higher_is_better else metric < best_so_far)
            if better:
                best = model.get_weights()
            done = Progress(epoch + 1, epoch + 1 if better else done.best_epoch, (*done.metrics, metric))
            checkpoint.save(state, done, everything, best)
    model.set_weights(best)
    return done


def _taught(model: Any, distillation: Distillation | None) -> AbstractContextManager[None]:
    if distillation is None:
        return nullcontext()
    from edgeprune.recover.distill import distilling

    return distilling(model, distillation)


def _seed_dropout(model: Any, seed: int) -> None:
    """Give every random layer its own stream from `seed`: the states are drawn anew whenever a model is loaded."""
    states = [variable for variable in model.variables if "seed_generator" in variable.path]
    for number, state in enumerate(states):
        state.assign([seed, number])


def _best(done: Progress, higher_is_better: bool) -> float:
    finite = [value for value in done.metrics if math.isfinite(value)]
    if not finite:
        return -math.inf if higher_is_better else math.inf
    return max(finite) if higher_is_better else min(finite)


def _cosine(part: float) -> float:
    """1 at the start of training (part 0), falling to 0.01 at its end (part 1)."""
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * part))


def _length(epoch: Any) -> int | None:
    """Batches of one epoch; None for a tf.data.Dataset that doesn't know."""
    try:
        return len(epoch)
    except TypeError:
        return None


def _is_schedule(optimizer: Any) -> bool:
    import keras

    inner = getattr(optimizer, "inner_optimizer", optimizer)
    return isinstance(inner._learning_rate, keras.optimizers.schedules.LearningRateSchedule)
