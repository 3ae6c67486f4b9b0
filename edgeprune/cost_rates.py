"""What operations cost on a board, in time and energy: the [cost] and [energy] tables of a target's TOML."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from edgeprune.toml_table import Table

QUANTIZE_MODES = ("none", "float16", "dynamic", "int8")


@dataclass(frozen=True)
class CostRates:
    """Cost of one operation: op_us + compute / rate + bytes moved / copy rate; `edgeprune.cost.latency_terms` says how.

    Rates are in 1e9 multiply-accumulates per second, `copy_gb_s` in 1e9 bytes per second, `gips` in 1e9 instructions
    per second (of operations without multiply-accumulates; 0: only their bytes count), all at `Target.threads` threads.

    sparse_ratio: the rate of nonzero multiply-accumulates in sparse kernels, as a share of `conv_gmacs`; 0: no gain is
    promised. serial: the share of the time on one thread that more threads do not shorten. error: how far a prediction
    may be off, as a share of it.

    What follows describes kernels. Of matrix products: conv_rows positions x conv_columns output channels are one tile
    (0: `Target.channel_multiple`), inputs are rounded up to conv_depth; a tile starts as if it had conv_start more
    inputs, and conv_tap more at each position of the kernel; conv_narrow is what a multiply-accumulate costs in the
    narrow kernel for channels that don't fill tiles (0: none); conv_input is what each input costs before the product,
    in multiply-accumulates. dense_start: conv_start at a single position. Of depthwise kernels: depthwise_columns
    channels are one tile; each position starts as if its kernel had depthwise_start more weights, each kernel position
    as if there were depthwise_tap more channels.
    """

    conv_gmacs: float
    depthwise_gmacs: float
    dense_gmacs: float
    copy_gb_s: float
    op_us: float
    gips: float = 0.0
    sparse_ratio: float = 0.0
    serial: float = 0.0
    error: float = 0.25
    conv_rows: float = 1.0
    conv_columns: float = 0.0
    conv_depth: float = 1.0
    conv_tap: float = 0.0
    conv_start: float = 0.0
    conv_narrow: float = 0.0
    conv_input: float = 0.0
    dense_start: float = 0.0
    depthwise_columns: float = 0.0
    depthwise_start: float = 0.0
    depthwise_tap: float = 0.0

    @property
    def sparse_gmacs(self) -> float | None:
        """1e9 nonzero multiply-accumulates per second; None: no gain is promised, zeros cost what other weights
        cost.
        """
        return self.sparse_ratio * self.conv_gmacs or None

    def time_ratio(self, threads: int, other_threads: int) -> float:
        """Time on `other_threads` / time on `threads`, by Amdahl's law."""
        on, other = (self.serial + (1 - self.serial) / count for count in (threads, other_threads))
        return other / on


@dataclass(frozen=True)
class Energy:
    """Energy of one multiply-accumulate, with all that the core spends around it, and of one byte moved from or to
    memory, in picojoules. An estimate: `source` says of what."""

    pj_per_mac: float
    pj_per_int8_mac: float
    pj_per_byte: float
    source: str


def read_energy(top: Table) -> Energy | None:
    """The optional [energy] table."""
    if "energy" not in top:
        return None
    table = top.table("energy", "an [energy] table with picojoules and their source")
    table.check_keys(field.name for field in dataclasses.fields(Energy))
    source = table.text("source", "text saying where the numbers come from")
    return Energy(table.number("pj_per_mac"), table.number("pj_per_int8_mac"), table.number("pj_per_byte"), source)


def read_cost(top: Table) -> tuple[dict[str, CostRates], str]:
    """The [cost] table: rates by quantization mode, and where they come from."""
    cost = top.table("cost", f"a [cost] table with source, {', '.join(QUANTIZE_MODES)}")
    cost.check_keys(("source", *QUANTIZE_MODES), kind="quantization mode")
    rates = {mode: _cost_rates(cost.table(mode, "a table of cost rates")) for mode in QUANTIZE_MODES}
    return rates, cost.text("source", "text saying where the rates come from")


def _cost_rates(table: Table) -> CostRates:
    fields = dataclasses.fields(CostRates)
    table.check_keys(field.name for field in fields)
    given = [field.name for field in fields if field.default is dataclasses.MISSING or field.name in table]
    rates = CostRates(**{name: table.number(name) for name in given})
    for name in ("serial", "error"):
        if getattr(rates, name) >= 1:
            raise table.wrong(name, "a share below 1 (0.2 = 20 %)")
    for name in ("conv_rows", "conv_columns", "conv_depth", "depthwise_columns"):
        if not getattr(rates, name).is_integer():
            raise table.wrong(name, "a whole number")
    return rates
