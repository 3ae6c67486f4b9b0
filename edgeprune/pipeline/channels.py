"""`prune_channels`: one-shot structured pruning of a Keras model, without targets, budgets or files."""

from __future__ import annotations

import numbers
from pathlib import Path
from typing import Any

from edgeprune.errors import InputError
from edgeprune.plan.uniform import uniform

# Enough samples for a stable mean of the gradients, in bounded time.
SCORING_SAMPLES = 2048


def prune_channels(
    model: Any,
    ratio: float,
    criterion: str = "l1",
    *,
    data: Any = None,
    loss: Any = None,
    multiple: int = 1,
    aggregate: str = "sum",
    normalize: str = "auto",
    batch_size: int = 32,
    seed: int = 0,
) -> Any:
    """A smaller model: each group of coupled channels loses `ratio` of its units, the least important first.

    The given model is not changed. Weights are carried over and the compiled state is kept. Model inputs and
    outputs never change; channels that an operation without a rule touches stay.

    Args:
        model: a built functional or Sequential Keras 3 model.
        ratio: share of each group to remove, 0 <= ratio < 1.
        criterion: how channels are ranked: l1, l2, bn_scale, fpgm, random; with data taylor, snip, apoz and
            mean_activation.
        data: (x, y) arrays or a tf.data.Dataset; needed by the last four.
        loss: overrides the compiled loss for "taylor".
        multiple: kept counts are multiples of it (8 suits most runtimes); the default 1 keeps the ratio exact.
        aggregate: how the layers that make one channel together are combined: sum, mean or max.
        normalize: what the scores of a group are divided by: auto, none, mean, sum or max.
        seed: for "random" and for the order of the data.

    Raises:
        InputError: a bad ratio or criterion, a model whose graph can't be read, data that don't fit.
    """
    from edgeprune.quiet import silence

    silence()
    if isinstance(ratio, bool) or not isinstance(ratio, numbers.Real) or not 0 <= ratio < 1:
        raise InputError(f"prune_channels: ratio must be a number with 0 <= ratio < 1. Received: ratio={ratio!r}")
    for name, value, least in (("multiple", multiple, 1), ("batch_size", batch_size, 1), ("seed", seed, 0)):
        if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
            raise InputError(
                f"prune_channels: {name} must be a whole number of at least {least}. Received: {name}={value!r}"
            )
    from edgeprune.importance.table import criterion as find_criterion
    from edgeprune.pipeline.analysis import analyse

    needs_data = find_criterion(criterion).needs_data
    analysis = analyse(model)
    options: dict[str, Any] = {"seed": seed}
    if needs_data:
        from edgeprune.task.options import TaskOptions

        options |= gradient_options(model, data, TaskOptions(loss=loss), batch_size, seed)
    scores = analysis.scores(criterion, aggregate=aggregate, normalize=normalize, **options)
    return analysis.shrink(scores, uniform(analysis.network.full, float(ratio), int(multiple)))


def gradient_options(
    model: Any, data: Any, task: Any, batch_size: int, seed: int, search_path: Path | None = None
) -> dict[str, Any]:
    """What gradient criteria need: a loss and a stream of training batches (about 2048 samples, drawn with `seed`).

    Raises:
        InputError: no data, or data that don't fit the model.
    """
    if data is None:
        raise InputError("this criterion needs data: give (x, y) arrays, a tf.data.Dataset or --data")
    from edgeprune.data.load import load_data
    from edgeprune.data.signature import signature_of
    from edgeprune.pipeline.losses import scalar_loss
    from edgeprune.pipeline.samples import drawn_batches
    from edgeprune.task.options import TaskOptions
    from edgeprune.task.resolve import resolve_task

    signature = signature_of(model)
    # Nothing is trained on objects that are given here, so none of their samples is set aside.
    validation = None if isinstance(data, (str, Path)) else data
    train = load_data(data, signature, validation=validation, seed=seed, search_path=search_path).train
    labels = train.label_sample(1024, seed)
    resolved = resolve_task(model, labels, signature, TaskOptions() if task is None else task)
    batches, count = drawn_batches(train, batch_size, SCORING_SAMPLES, seed)
    return {"model": model, "loss": scalar_loss(model, resolved), "batches": batches, "n_batches": count}
