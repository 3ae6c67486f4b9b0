"""Choices of a build, and what is allowed for each."""

from __future__ import annotations

from dataclasses import dataclass

from edgeprune.config import MAX_SEED, SPARSE_STRATEGY
from edgeprune.errors import InputError, nearest
from edgeprune.target import QUANTIZE_MODES

STRATEGIES = ("auto", "structured")


@dataclass(frozen=True)
class Options:
    """Choices of a build that are not a model, data, target or budget.

    aggregate: how the layers that make one channel together are combined: sum, mean or max. normalize: what the scores
    of a group are divided by: auto, none, mean, sum or max.
    epochs: fine-tuning epochs of each round. rounds: of prune and fine-tune. calibration: samples for int8.
    distillation_weight: how far fine-tuning follows the dense model instead of the labels, 0 (not at all) to 1.
    distillation_temperature: how much its outputs are softened for that, above 0.
    """

    strategy: str = "auto"
    quantize: str = "auto"
    criterion: str = "taylor"
    aggregate: str = "sum"
    normalize: str = "auto"
    allocation: str = "auto"
    epochs: int = 6
    rounds: int = 3
    batch_size: int = 64
    calibration: int = 200
    seed: int = 0
    quick_bench: bool = True
    distillation_weight: float = 0.0
    distillation_temperature: float = 4.0


def check_options(options: Options) -> None:
    """Refuse options out of range.

    Raises:
        InputError: names the option, what it was and what is allowed.
    """
    from edgeprune.importance.table import check_aggregate, criterion, normalization
    from edgeprune.pipeline.allocation import check_allocation
    from edgeprune.recover.distillation import check_strength

    if SPARSE_STRATEGY.fullmatch(options.strategy):
        raise InputError(f'the strategy "{options.strategy}" is not available in this version; use auto or structured')
    if options.strategy not in STRATEGIES:
        raise InputError(f'unknown strategy "{options.strategy}"; {nearest(options.strategy, STRATEGIES)}')
    modes = ("auto", *QUANTIZE_MODES)
    if options.quantize not in modes:
        raise InputError(f'unknown quantize mode "{options.quantize}"; {nearest(options.quantize, modes)}')
    criterion(options.criterion)
    check_aggregate(options.aggregate)
    normalization(options.criterion, options.normalize)
    check_allocation(options.allocation)
    for name, least in (("epochs", 0), ("rounds", 1), ("batch_size", 1), ("calibration", 1), ("seed", 0)):
        value = getattr(options, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise InputError(f"{name} must be a whole number of at least {least}; got {value!r}")
    if options.seed > MAX_SEED:
        raise InputError(f"seed must be at most {MAX_SEED}; got {options.seed}")
    check_strength(options.distillation_temperature, options.distillation_weight, prefix="distillation_")
