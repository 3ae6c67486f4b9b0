"""`reestimate_batchnorm`: the statistics of a pruned model, without a build."""

from __future__ import annotations

import numbers
from pathlib import Path
from typing import Any

from edgeprune.errors import InputError


def reestimate_batchnorm(model: Any, data: Any, *, samples: int = 12800, batch_size: int = 64, seed: int = 0) -> Any:
    """Replace the BatchNorm statistics of a model by those of training data; returns the model, which is changed.

    After weights or channels are gone later layers see other values than the moving statistics say; fresh ones often
    recover most of a one-shot loss. Nothing else changes, and frozen BatchNorm layers stay.

    Args:
        model: a built functional or Sequential Keras 3 model.
        data: (x, y) arrays, a tf.data.Dataset, or another form that `build` takes.
        samples: about how many to use, drawn with `seed`.

    Raises:
        InputError: a bad argument, or data that don't fit the model.
    """
    from edgeprune.quiet import silence

    silence()
    for name, value, least in (("samples", samples, 1), ("batch_size", batch_size, 1), ("seed", seed, 0)):
        if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
            raise InputError(
                f"reestimate_batchnorm: {name} must be a whole number of at least {least}. Received: {name}={value!r}"
            )
    from edgeprune.data.load import load_data
    from edgeprune.data.signature import signature_of
    from edgeprune.pipeline.samples import drawn_batches
    from edgeprune.recover.batchnorm import reestimate_statistics

    # Nothing is judged here, so no samples of given objects are set aside.
    validation = None if isinstance(data, (str, Path)) else data
    train = load_data(data, signature_of(model), validation=validation, seed=seed).train
    batches, count = drawn_batches(train, batch_size, samples, seed)
    reestimate_statistics(model, batches, count)
    return model
