"""Sparse fine-tuning: zeros that are there stay zero, whatever trains the model."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeprune.errors import InputError
from edgeprune.sparsity.masks import MaskSet, detach, masked_variables, zero_masks
from edgeprune.sparsity.selection import select
from edgeprune.sparsity.weights import prunable_weights


def freeze_sparsity(model: Any, *, include: Any = None, exclude: Any = None) -> Any:
    """Keep the zeros of a model's kernels at zero in all further training; returns the model.

    Works for `fit` and for loops of the user's own, with every Keras optimizer, and needs no callback. Call it on a
    model that was loaded, before training goes on: a saved file holds zeros but no masks. A kernel that is all zeros
    was made so and stays free. Masks take one byte a weight.

    Args:
        include, exclude: layers, as `PruningCallback` takes them; without `include` every kernel that has zeros.

    Raises:
        InputError: the model is not built, has no zeros, or a filter matches nothing.
    """
    weights = prunable_weights(model)
    if include is not None or exclude is not None:
        everything = [weight.path for weight in weights] if include is None else include
        weights = select(weights, everything, exclude, where="freeze_sparsity")
    keep = zero_masks([np.asarray(weight.variable) for weight in weights])
    chosen = [(weight, mask) for weight, mask in zip(weights, keep, strict=True) if not mask.all()]
    if not chosen:
        raise InputError(
            f'freeze_sparsity: no kernel of "{model.name}" has zeros to keep; prune it first, for example with '
            "fit(callbacks=[PruningCallback(...)])"
        )
    masks = MaskSet(model, [(weight.path, weight.variable) for weight, _ in chosen])
    masks.assign([mask for _, mask in chosen])
    return model


def unfreeze_sparsity(model: Any) -> Any:
    """Let zeros change again in further training, those that `PruningCallback` made included; returns the model.

    Raises:
        InputError: not a built Keras model.
    """
    prunable_weights(model)
    detach(model)
    return model


def is_frozen(model: Any) -> bool:
    """Whether the model has masks that keep zeros."""
    return bool(masked_variables(model))
