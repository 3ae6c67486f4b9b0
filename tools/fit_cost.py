"""Fit the cost rates of targets/*.toml to published latencies and counted instructions; print or write the [cost]
tables.

    python tools/fit_cost.py [BOARD ...] [--write | --check]
    python tools/fit_cost.py --errors

Kernel coefficients come from instructions counted on emulated boards (kernel_fit.py), the time of an instruction, the
bandwidth and the serial share from published latencies (latency_fit.py). `--errors` prints predicted against published,
with each row fitted along, left out of the fit, and with all rows of its board left out. `error` in targets/ is the 90
% quantile of the second for boards that rows are published of, and of the third for others.

`--write` replaces the [cost] tables in targets/, `--check` compares them and exits 1 where they differ.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, fields, replace
from functools import cache
from math import exp, inf, log
from pathlib import Path

import numpy as np
from kernel_fit import instruction_rates
from latency_fit import BOARDS, Fit, Published, leave_board_out, leave_one_out, network, published
from scipy.optimize import minimize_scalar

from edgeprune.cost.model import CostModel
from edgeprune.cost_rates import QUANTIZE_MODES, CostRates
from edgeprune.target import load_target

TARGETS = Path(__file__).resolve().parents[1] / "targets"
BEGIN = "# Fitted by tools/fit_cost.py"

# Sparse kernels, per nonzero weight, as a share of the dense rate.
SPARSE_RATIO = 0.3
SPARSE_NOTE = (
    "sparse_ratio: 0.42 by instructions on the emulated Cortex-A72. The rows of Fast Sparse ConvNets (Snapdragon 835,",
    "one thread: V1 with 90 % zeros 31 ms of 86, V2 with 85 % 33 of 53) take 1.4 times the time per instruction: 0.3.",
)
A53_NOTE = (
    "No sparse_ratio: on Cortex-A53 sparse kernels were slower than dense ones (Paddle-Lite, Snapdragon 625,",
    "MobileNetV1: 173.5 ms against 143.6), so no gain is promised.",
)
# The precision whose constants a mode takes. float16 is expanded when the model is loaded.
LIKE = {"none": "none", "float16": "none", "dynamic": "int8", "int8": "int8"}


@dataclass(frozen=True)
class Source:
    """Where a target's rates come from.

    boards: of latency_fit.py, whose times per instruction are averaged. kernels: of kernel_counts.json. speed: how many
    instructions run in the time of one of those boards. own: whether `boards` are the target itself. op_us: assumed,
    the time to start an operation on all threads. memcpy_gb_s: as `latency_fit.Board` where None.
    """

    boards: tuple[str, ...]
    kernels: str
    text: str
    op_us: float
    speed: float = 1.0
    own: bool = True
    sparse: bool = True
    memcpy_gb_s: float | None = None


# Peak float rate of the big cores: clock x 128-bit multiply-add pipes x cores.
PIXEL4_PEAK = (2.84 + 3 * 2.42) * 2
PIXEL6_PEAK = 2 * 2.80 * 4 + 2 * 2.25 * 2
PIXEL8_PEAK = 2.91 * 4 + 4 * 2.37 * 2

SOURCES = {
    "rpi3": Source(("Pi 3+",), "rpi-zero-2w", "XNNPACK README, Pi 3+, MobileNet V1/V2, all threads", 6.0, sparse=False),
    "rpi-zero-2w": Source(
        ("Pi 3+",),
        "rpi-zero-2w",
        "the Pi 3+'s fit at 1.0 instead of 1.4 GHz",
        6.0 * 1.4,
        1.0 / 1.4,
        own=False,
        sparse=False,
        memcpy_gb_s=1.3,
    ),
    "rpi4": Source(
        ("Pi 4",),
        "rpi4",
        "XNNPACK README, MobileNet V1/V2, and EfficientDet-lite0 by TFLite 2.18, both Pi 4 ARM64",
        3.0,
    ),
    "rpi5": Source(("Pi 5",), "rpi5", "EfficientDet-lite0 by TFLite 2.18, Pi 5", 1.5),
    "pixel4": Source(("Pixel 4",), "rpi5", "TFLite documentation, Pixel 4, MobileNet V1, Android 10, 4 threads", 1.5),
    "pixel6": Source(
        ("Pixel 4",),
        "rpi5",
        "the Pixel 4's fit times the ratio of peak rates",
        1.5,
        PIXEL6_PEAK / PIXEL4_PEAK,
        own=False,
    ),
    "pixel8": Source(
        ("Pixel 4",),
        "pixel8",
        "the Pixel 4's fit times the ratio of peak rates",
        1.5,
        PIXEL8_PEAK / PIXEL4_PEAK,
        own=False,
    ),
    "android-arm64": Source(
        ("Pixel", "Pixel 3a"), "rpi4", "XNNPACK README, Pixel and Pixel 3a, MobileNet V1/V2, both big cores", 3.0
    ),
}
# Measured once: ai-edge-litert 2.3.0, shared x86-64 virtual machine with AVX-512, one thread, fastest of 80 runs.
HOST_MS = {"none": {"V1": 4.70, "V2": 3.03}, "int8": {"V1": 1.70, "V2": 1.43}}
HOST_TEXT = (
    "measured once: MobileNet V1/V2, ai-edge-litert 2.3.0, shared x86-64 virtual machine with AVX-512, 1 thread, "
    "fastest of 80 runs"
)
# No counts of x86: a prior of conv : depthwise : dense. Dynamic range as measured on that machine.
HOST_RATIOS = {"none": (1.0, 0.3, 0.5), "int8": (1.0, 0.3, 0.5)}
HOST_DYNAMIC, HOST_COPY_GB_S, HOST_OP_US = (0.6, 0.6, 4 / 3), 44.0, 0.5
# the worse of its residuals is 16 %
HOST_ERROR = 0.2


@dataclass(frozen=True)
class Errors:
    """predicted / published - 1, row by row."""

    rows: tuple[Published, ...]
    fitted: tuple[float, ...]
    left_out: tuple[float, ...]
    board_left_out: tuple[float, ...]

    def quantile(self, errors: tuple[float, ...], mode: str) -> float:
        """The 90 % quantile of a precision's absolute errors."""
        own = [abs(error) for row, error in zip(self.rows, errors, strict=True) if row.mode == mode]
        return float(np.quantile(own, 0.9))


@cache
def fitted() -> Fit:
    return Fit(published())


@cache
def errors() -> Errors:
    rows = tuple(published())
    own = tuple(fitted().predict(row) / row.ms - 1 for row in rows)
    return Errors(rows, own, tuple(leave_one_out(rows)), tuple(leave_board_out(rows)))


def rates_of(name: str, mode: str) -> CostRates:
    """The rates of a target in one mode, at its number of threads."""
    if name == "host":
        return host_rates(mode)
    source, like, fit = SOURCES[name], LIKE[mode], fitted()
    kernels = instruction_rates(source.kernels, "none" if mode == "float16" else mode)
    ns = exp(sum(log(fit.ns_per_instruction(board, like)) for board in source.boards) / len(source.boards))
    serial = sum(fit.serial(board, like) for board in source.boards) / len(source.boards)
    share = serial + (1 - serial) / load_target(name).threads
    speed = source.speed / (ns * share)
    memcpy = source.memcpy_gb_s or BOARDS[source.boards[0]].memcpy_gb_s
    known = (
        source.own and mode != "dynamic" and any(row.board in source.boards and row.mode == like for row in published())
    )
    return replace(
        kernels,
        conv_gmacs=kernels.conv_gmacs * speed,
        depthwise_gmacs=kernels.depthwise_gmacs * speed,
        dense_gmacs=kernels.dense_gmacs * speed,
        gips=speed,
        copy_gb_s=fit.bandwidth * memcpy / share,
        op_us=source.op_us,
        serial=serial,
        error=errors().quantile(errors().left_out if known else errors().board_left_out, like),
        sparse_ratio=SPARSE_RATIO if source.sparse and like == "none" else 0.0,
    )


def host_rates(mode: str) -> CostRates:
    """One scale on a prior, by the two measured networks."""
    like = "int8" if mode == "int8" else "none"

    def rates(scale: float) -> CostRates:
        conv, depthwise, dense = (scale * ratio for ratio in HOST_RATIOS[like])
        return CostRates(conv, depthwise, dense, HOST_COPY_GB_S, HOST_OP_US, error=HOST_ERROR)

    def error(log_scale: float) -> float:
        predicted = {name: predict_ms(name, rates(exp(log_scale)), like) for name in HOST_MS[like]}
        return sum(log(predicted[name] / ms) ** 2 for name, ms in HOST_MS[like].items())

    best = minimize_scalar(error, bounds=(log(1), log(10_000)), method="bounded", options={"xatol": 1e-9}).x
    found = rates(exp(best))
    if mode != "dynamic":
        return found
    conv, depthwise, dense = HOST_DYNAMIC
    return replace(
        found,
        conv_gmacs=found.conv_gmacs * conv,
        depthwise_gmacs=found.depthwise_gmacs * depthwise,
        dense_gmacs=found.dense_gmacs * dense,
    )


def predict_ms(name: str, rates: CostRates, mode: str) -> float:
    """What edgeprune predicts for a published network, at the target's threads."""
    return float(CostModel(network(name), rates, mode, 8).latency_ms(network(name).full))


def notes(name: str) -> list[str]:
    """What the comment above the tables says."""
    lines = [
        f"{BEGIN}, which explains the keys. Rates hold at `threads` threads; op_us is assumed.",
        "float16 only stores halves: weights are expanded when the model is loaded, so it runs at float32 rates.",
    ]
    if name == "host":
        return [*lines, "No sparse_ratio: XNNPACK has no sparse kernels for x86 CPUs with AVX.", *against_host()]
    source = SOURCES[name]
    lines.append(f"Kernels: instructions counted on the emulated {source.kernels}. dynamic: int8's time for each.")
    if source.kernels == "rpi-zero-2w":
        lines.append("int8, dynamic: tflite-runtime 2.14 runs them on its own kernels; published rows are XNNPACK's.")
    lines += SPARSE_NOTE if source.sparse else A53_NOTE
    found = errors()
    for mode in ("none", "int8"):
        listed = [
            f"{row.network} {row.board} {row.threads}t {row.ms:g} ms {fit:+.0%} ({out:+.0%})"
            for row, fit, out in zip(found.rows, found.fitted, found.left_out, strict=True)
            if source.own and row.board in source.boards and row.mode == mode and row.threads in (1, 2, 4)
        ]
        if listed:
            lines.append(f"Predicted against published (left out of the fit), {mode}:")
            lines += [f"  {text}" for text in listed]
    return lines


def against_host() -> list[str]:
    return [
        f"Predicted against measured, {mode}: "
        + ", ".join(
            f"{name} {ms:g} ms {predict_ms(name, host_rates(mode), mode) / ms - 1:+.0%}"
            for name, ms in HOST_MS[mode].items()
        )
        for mode in HOST_MS
    ]


def section(name: str) -> str:
    """The comments and [cost] tables of a board's file."""
    text = HOST_TEXT if name == "host" else f"fit to {SOURCES[name].text}; kernels counted on an emulated board"
    lines = [note if note.startswith("# ") else f"# {note}" for note in notes(name)]
    lines += ["[cost]", f'source = "{text}"']
    for mode in QUANTIZE_MODES:
        rates = rates_of(name, mode)
        lines += ["", f"[cost.{mode}]"]
        for field in fields(CostRates):
            value = getattr(rates, field.name)
            if value != field.default and value not in (0.0, inf):
                lines.append(f"{field.name} = {float(f'{value:.3g}')}")
    return "\n".join(lines) + "\n"


def print_errors() -> None:
    found = errors()
    print(f"{'board':12} {'network':19} {'mode':5} threads   ms   fitted  left out  board left out")
    for row, *shares in zip(found.rows, found.fitted, found.left_out, found.board_left_out, strict=True):
        fit, out, board = (f"{share:+.1%}".rjust(8) for share in shares)
        print(f"{row.board:12} {row.network:19} {row.mode:5} {row.threads:4} {row.ms:8.1f} {fit} {out} {board}")
    for label, shares in (
        ("fitted", found.fitted),
        ("left out", found.left_out),
        ("board left out", found.board_left_out),
    ):
        sizes = np.abs(shares)
        print(f"{label}: median {np.median(sizes):.1%}, 90 % {np.quantile(sizes, 0.9):.1%}, worst {sizes.max():.1%}")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    known = (*SOURCES, "host")
    parser.add_argument("boards", nargs="*", metavar="BOARD", help=f"default: all of {', '.join(known)}")
    parser.add_argument("--write", action="store_true", help="replace the [cost] tables in targets/")
    parser.add_argument("--check", action="store_true", help="compare with targets/; exit 1 where they differ")
    parser.add_argument("--errors", action="store_true", help="print predicted against published latencies")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.boards if name not in known]
    if unknown:
        parser.error(f"unknown board {unknown[0]}; allowed: {', '.join(known)}")
    if arguments.errors:
        print_errors()
        return 0
    different = 0
    for name in arguments.boards or known:
        path = TARGETS / f"{name}.toml"
        before = path.read_text(encoding="utf-8")
        text = before[: before.index(BEGIN)] + section(name)
        if arguments.write:
            path.write_text(text, encoding="utf-8")
        elif arguments.check:
            different += text != before
            print(f"targets/{name}.toml {'holds the fit' if text == before else 'DIFFERS'}")
        else:
            print(f"# {name}\n{section(name)}")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
