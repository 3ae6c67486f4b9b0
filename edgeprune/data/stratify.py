"""Drawing validation and calibration samples: seeded, and balanced by class where samples have one."""

from __future__ import annotations

import numpy as np

from edgeprune.errors import InputError


def split_indices(count: int, classes: np.ndarray | None, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split range(count) into (train, validation), each ascending, together complete, disjoint, never empty.

    classes: (count,) ints, or None for a plain random split. Each class gives validation its share to within one
    sample where it can, but always keeps at least one training sample.

    Raises:
        InputError: fraction is not between 0 and 1, or there are too few samples.
    """
    if not 0.0 < fraction < 1.0:
        raise InputError(
            f"the validation fraction is {fraction:g}; it must be greater than 0 and less than 1, e.g. 0.2"
        )
    if classes is None:
        classes = np.zeros(count, dtype=np.int64)
    labels, members = np.unique(classes, return_inverse=True)
    sizes = np.bincount(members, minlength=len(labels))
    spare = count - len(labels)
    if spare < 1:
        raise InputError(
            f"{count} samples in {len(labels)} class{'' if len(labels) == 1 else 'es'} are too few to split off a "
            "validation part (every class keeps a training sample); give validation data or more samples"
        )
    wanted = min(max(1, round(count * fraction)), spare)
    quota = _share_out(wanted, sizes, sizes - 1)
    generator = np.random.default_rng(seed)
    chosen = np.zeros(count, dtype=bool)
    for label, take in enumerate(quota):
        positions = np.flatnonzero(members == label)
        chosen[generator.permutation(positions)[:take]] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def sample_indices(count: int, classes: np.ndarray | None, wanted: int, seed: int) -> np.ndarray:
    """min(wanted, count) ascending positions out of range(count), shared out over the classes in proportion."""
    wanted = min(wanted, count)
    generator = np.random.default_rng(seed)
    if classes is None:
        return np.sort(generator.permutation(count)[:wanted])
    labels, members = np.unique(classes, return_inverse=True)
    sizes = np.bincount(members, minlength=len(labels))
    quota = _share_out(wanted, sizes, sizes)
    parts = [generator.permutation(np.flatnonzero(members == label))[:take] for label, take in enumerate(quota)]
    return np.sort(np.concatenate(parts))


def _share_out(wanted: int, sizes: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Whole numbers that add up to `wanted`, in proportion to `sizes`, none over its limit (largest remainder).

    Needs wanted <= limits.sum().
    """
    exact = wanted * sizes / sizes.sum()
    quota: np.ndarray = np.minimum(np.floor(exact).astype(np.int64), limits)
    while quota.sum() < wanted:
        # A stable order keeps the result the same on every machine.
        open_classes = np.flatnonzero(quota < limits)
        order = open_classes[np.argsort(-(exact - quota)[open_classes], kind="stable")]
        quota[order[: wanted - int(quota.sum())]] += 1
    return quota
