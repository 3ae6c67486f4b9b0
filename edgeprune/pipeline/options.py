"""Choices of a build, and what is allowed for each."""

from __future__ import annotations

from dataclasses import dataclass

from edgeprune.config import DEFAULT_N_OF_M, MAX_SEED, STRATEGIES, n_of_m
from edgeprune.cost_rates import QUANTIZE_MODES
from edgeprune.errors import InputError, nearest

SPARSE = "sparse"
DEFAULT_SPARSITY = 0.8


@dataclass(frozen=True)
class Options:
    """Choices of a build that are not a model, data, target or budget.

    strategy: auto and structured remove channels; sparse and N:M ("2:4") then make kernels sparse as well.
    sparsity: for "sparse", the share of zeros in all kernels together, in [0, 1); None for 0.8.
    aggregate: how the layers that make one channel together are combined: sum, mean or max. normalize: what the scores
    of a group are divided by: auto, none, mean, sum or max.
    epochs: fine-tuning epochs of each round. rounds: of prune and fine-tune. calibration: samples for int8.
    allow_dense_kernels: build for the strategy "sparse" also where zeros make only the file smaller, not the model
    faster. device: where the result is measured: "local", or another device of `edgeprune bench`, whose times then
    replace predicted ones.
    quick_bench: short rounds for the benchmark on this host; a target's own times are always measured in full.
    distillation_weight: how far fine-tuning follows the dense model instead of the labels, 0 (not at all) to 1.
    distillation_temperature: how much its outputs are softened for that, above 0.
    """

    strategy: str = "auto"
    sparsity: float | None = None
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
    allow_dense_kernels: bool = False
    device: str = "local"
    distillation_weight: float = 0.0
    distillation_temperature: float = 4.0

    @property
    def pattern(self) -> str | None:
        """How zeros are laid out, as `edgeprune.sparsity.patterns` names it; None where no kernel becomes sparse."""
        if self.strategy == SPARSE:
            return None if self.sparsity == 0 else "unstructured"
        return n_of_m(self.strategy)

    @property
    def reported_strategy(self) -> str:
        """The strategy as reports call it: structured, sparse or N:M."""
        if self.pattern is None:
            return "structured"
        return SPARSE if self.strategy == SPARSE else self.pattern

    @property
    def final_sparsity(self) -> float:
        """The share of zeros that training ends with; an N:M pattern fixes it, up to kernels that M doesn't divide."""
        if self.pattern is None:
            return 0.0
        if self.strategy == SPARSE:
            return DEFAULT_SPARSITY if self.sparsity is None else float(self.sparsity)
        n, m = map(int, self.pattern.split(":"))
        return 1 - n / m


def check_options(options: Options) -> None:
    """Refuse options out of range.

    Raises:
        InputError: names the option, what it was and what is allowed.
    """
    from edgeprune.export.modes import SPARSE_DYNAMIC, SPARSE_MODES
    from edgeprune.importance.table import check_aggregate, criterion, normalization
    from edgeprune.pipeline.allocation import check_allocation
    from edgeprune.recover.distillation import check_strength

    _check_strategy(options)
    modes = ("auto", *QUANTIZE_MODES)
    if options.quantize not in modes:
        raise InputError(f'unknown quantize mode "{options.quantize}"; {nearest(options.quantize, modes)}')
    if options.pattern is not None and options.quantize == "dynamic":
        raise InputError(
            f"--quantize dynamic can't be used with --strategy {options.strategy}: {SPARSE_DYNAMIC}; {SPARSE_MODES}"
        )
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


def _check_strategy(options: Options) -> None:
    from edgeprune.sparsity.patterns import parse_pattern

    strategy, sparsity = options.strategy, options.sparsity
    if not isinstance(strategy, str) or (strategy not in STRATEGIES and n_of_m(strategy) is None):
        raise InputError(f'unknown strategy "{strategy}"; {nearest(str(strategy), (*STRATEGIES, DEFAULT_N_OF_M))}')
    if options.pattern is not None:
        parse_pattern(options.pattern)
    if sparsity is None:
        return
    if isinstance(sparsity, bool) or not isinstance(sparsity, (int, float)) or not 0 <= sparsity < 1:
        raise InputError(f"sparsity must be a number of at least 0 and below 1, such as 0.8; got {sparsity!r}")
    if strategy != SPARSE:
        fixed = "removes channels" if options.pattern is None else f"fixes it at {options.final_sparsity:g}"
        raise InputError(
            f'sparsity is for the strategy "sparse", and "{strategy}" {fixed}; leave it out, or use --strategy sparse'
        )
