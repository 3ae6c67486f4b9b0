"""Pictures of a sparse model's masks, small enough for a page."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeprune.pipeline.kernels import sparse_weights
from edgeprune.records.masks import SIDE, MaskPicture


def mask_pictures(model: Any) -> tuple[MaskPicture, ...]:
    """One picture of every kernel that has zeros, in the order of the model's variables."""
    found = []
    for weight in sparse_weights(model):
        view = weight.runtime_view(np.asarray(weight.variable)) != 0
        kept = view.transpose(1, 0, 2).reshape(view.shape[1], -1)
        if not kept.all():
            sparsity = 1 - float(kept.mean())
            found.append(MaskPicture(weight.path, *kept.shape, sparsity, _cells(kept)))
    return tuple(found)


def _cells(kept: np.ndarray) -> np.ndarray:
    """Means over at most SIDE x SIDE cells, as equal in size as whole weights allow. kept: (outputs, inputs) bool."""
    starts = [np.linspace(0, length, min(length, SIDE), endpoint=False).astype(np.int64) for length in kept.shape]
    sums = np.add.reduceat(np.add.reduceat(kept.astype(np.float64), starts[0], axis=0), starts[1], axis=1)
    sizes = [np.diff(np.append(start, length)) for start, length in zip(starts, kept.shape, strict=True)]
    return np.asarray(sums / np.outer(*sizes))
