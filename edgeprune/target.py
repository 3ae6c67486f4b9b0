"""Targets: what a board is, which runtime it runs, and what operations cost on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

QUANTIZE_MODES = ("none", "float16", "dynamic", "int8")


@dataclass(frozen=True)
class Core:
    """One cluster of equal cores. `part` is the MIDR part number, such as 0xd08 for a Cortex-A72."""

    kind: str
    count: int
    ghz: float
    part: str


@dataclass(frozen=True)
class Runtime:
    """The Python package and version that runs the model on the board."""

    package: str
    version: str


@dataclass(frozen=True)
class CostRates:
    """Linear cost of one operation: op_us + macs / rate + bytes moved / copy rate.

    Rates are in 1e9 multiply-accumulates per second, `copy_gb_s` in 1e9 bytes per second, all at
    `Target.threads` threads.
    """

    conv_gmacs: float
    depthwise_gmacs: float
    dense_gmacs: float
    copy_gb_s: float
    op_us: float


@dataclass(frozen=True)
class Budget:
    """Limits a build must keep. None means no limit.

    Absolute limits (milliseconds, 1000-byte kB) and ratios to the dense float32 baseline may be mixed; the
    tighter one counts. `max_accuracy_drop` is in the metric's own units for metrics that are better
    when higher (0.01 = one point of accuracy) and relative to the baseline's value otherwise.
    """

    latency_ms: float | None = None
    size_kb: float | None = None
    ram_kb: float | None = None
    max_accuracy_drop: float | None = None
    latency_ratio: float | None = None
    size_ratio: float | None = None
    ram_ratio: float | None = None


@dataclass(frozen=True)
class Target:
    """One board, read from a TOML file. `cost` has one entry per quantization mode."""

    name: str
    title: str
    cores: tuple[Core, ...]
    isa: tuple[str, ...]
    ram_mb: int
    copy_mb_s: int
    runtime: Runtime
    channel_multiple: int
    threads: int
    transport: str
    budget: Budget
    cost: Mapping[str, CostRates]
    cost_source: str
