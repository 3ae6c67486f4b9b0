"""What a build reports: the contents of report.json. Units stand in the names."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from edgeprune.records.bench import BenchResult
from edgeprune.records.instructions import InstructionBench


@dataclass(frozen=True)
class Metric:
    """A quality metric on the validation data, named as the user knows it."""

    name: str
    value: float
    higher_is_better: bool


@dataclass(frozen=True)
class Latency:
    """Milliseconds per inference, and how they are known.

    low, high: the band around a prediction in which 9 of 10 published latencies lay that were left out of the fit; None
    where it was measured, or nothing was converted.
    """

    value: float
    method: Literal["measured", "predicted"]
    device: str
    threads: int
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class ModelRecord:
    """One model as a user judges it. `metric` is None where nothing was evaluated (plan without data).

    sparsity: the share of zeros in all kernels; `params` counts them. peak_ram_bytes: weights and activations;
    process_ram_bytes: with the file and what the runtime takes itself, predicted. energy_mj: a rough estimate, in
    millijoules per inference. Both are None where nothing was converted, or the target has no constants.
    """

    metric: Metric | None
    size_bytes: int
    macs: int
    params: int
    peak_ram_bytes: int
    latency_ms: Latency
    quantize: str
    sparsity: float = 0.0
    process_ram_bytes: int | None = None
    energy_mj: float | None = None


@dataclass(frozen=True)
class LimitRow:
    """One limit of the budget and what was reached. name: latency_ms, size_kb, ram_kb or accuracy_drop."""

    name: str
    limit: float
    baseline: float
    result: float
    met: bool


@dataclass(frozen=True)
class LayerRow:
    """One layer with weights, before and after. Channels are output channels; sparsity is the share of zeros in the
    layer's kernels."""

    layer: str
    kind: str
    channels_before: int
    channels_after: int
    macs_before: int
    macs_after: int
    params_before: int
    params_after: int
    latency_ms_before: float
    latency_ms_after: float
    sparsity_before: float = 0.0
    sparsity_after: float = 0.0


@dataclass(frozen=True)
class SparseInference:
    """Whether the target's runtime runs sparse kernels. reason: what stops (the rest of) the model, or "".

    instructions_dense, instructions_sparse: of one invoke on the emulated board: the same model with every zero stored
    and no rewriting, and the result; None where no board is set up.
    """

    engaged: bool
    how_known: Literal["predicted", "emulated"]
    reason: str
    instructions_dense: int | None = None
    instructions_sparse: int | None = None


@dataclass(frozen=True)
class FrozenRow:
    """A layer whose channels are not pruned, and why."""

    layer: str
    kind: str
    reason: str


@dataclass(frozen=True)
class Parity:
    """How far the TFLite model's outputs are from the Keras model's, on `samples` real inputs.

    Errors are relative to the largest absolute Keras output. `passed` is max_error <= tolerance.
    """

    quantize: str
    samples: int
    max_error: float
    mean_error: float
    tolerance: float
    passed: bool


@dataclass(frozen=True)
class QuantizeTrial:
    """One quantization mode that was considered: its metric where tried, and why it was or wasn't chosen."""

    quantize: str
    metric: Metric | None
    size_bytes: int | None
    chosen: bool
    reason: str


@dataclass(frozen=True)
class AllocationTrial:
    """One way to spend the budget over the layers: the metric right after a trial cut half of the way to the limits,
    None where it was not tried or missed the limits."""

    allocation: str
    metric: Metric | None
    chosen: bool
    reason: str


@dataclass(frozen=True)
class StrategyTrial:
    """One strategy that "auto" compared: what its file costs and how well it does.

    Of one that was not trained costs are predicted, or None where nothing is known; metric and keeps_budget are None.
    """

    strategy: str
    quantize: str
    metric: Metric | None
    latency_ms: float | None
    size_bytes: int | None
    peak_ram_bytes: int | None
    keeps_budget: bool | None
    chosen: bool
    reason: str


@dataclass(frozen=True)
class RoundRow:
    """One round of prune and fine-tune. sparsity: the share of zeros in the kernels that a sparse round prunes."""

    number: int
    macs: int
    params: int
    latency_ms: float
    metric_after_surgery: float
    metric_after_training: float
    epochs: int
    sparsity: float = 0.0


@dataclass(frozen=True)
class BuildReport:
    """Everything a build reports."""

    target: str
    strategy: str
    seed: int
    baseline: ModelRecord
    result: ModelRecord
    budget: dict[str, float | None]
    limits: tuple[LimitRow, ...]
    layers: tuple[LayerRow, ...]
    frozen: tuple[FrozenRow, ...]
    rounds: tuple[RoundRow, ...]
    quantize_trials: tuple[QuantizeTrial, ...]
    parity: Parity
    bench: BenchResult | None
    notes: tuple[str, ...]
    versions: dict[str, str]
    allocation_trials: tuple[AllocationTrial, ...] = ()
    sparse_inference: SparseInference | None = None
    strategy_trials: tuple[StrategyTrial, ...] = ()
    instructions: InstructionBench | None = None

    @property
    def met(self) -> bool:
        """Whether every limit of the budget is met."""
        return all(row.met for row in self.limits)

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary for report.json."""
        return {"schema": 1, **asdict(self), "met": self.met}
