"""What was counted on an emulated board. Instructions are not time: a board runs some much faster than others."""

from __future__ import annotations

from dataclasses import dataclass

UNIT = "guest instructions per invoke, emulated; not a time"


@dataclass(frozen=True)
class InstructionCounts:
    """One model on one thread: what its second invoke executes outside Python's own code.

    by_op: per operation as TFLite names it, and "other" for what is in none; sums up to `instructions`. Empty where
    the runtime's library names no functions. by_kernel: per XNNPACK microkernel; one with "_spmm_" in its name runs
    sparse weights. load_instructions: to load the model. peak_rss_kb: the memory that loading and running it took at
    most, on top of Python with the runtime imported and without the emulator's own; None where the system doesn't
    tell. emulated_load_secs: how long loading took in the emulator, on this host.
    """

    model: str
    instructions: int
    by_op: dict[str, int]
    by_kernel: dict[str, int]
    load_instructions: int
    peak_rss_kb: int | None
    emulated_load_secs: float


@dataclass(frozen=True)
class InstructionBench:
    """A model on an emulated board, alone or against a baseline.

    `ratio` is the model's instructions / the baseline's: below 1 the model needs fewer. `warnings` says why the
    numbers may not be what they seem.
    """

    device: str
    runtime: str
    unit: str
    model: InstructionCounts
    baseline: InstructionCounts | None
    ratio: float | None
    warnings: tuple[str, ...]
