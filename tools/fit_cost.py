"""Fit the cost rates of targets/*.toml to published latencies, and print the TOML lines with their residuals.

    python tools/fit_cost.py [BOARD ...] [--check]

What is fitted is what edgeprune predicts: `edgeprune.cost.model.CostModel` of MobileNet (V1) and MobileNetV2 (V2) at
224x224, each traced once. Per board and precision ONE number is fitted, a scale on all compute rates, in log space.
The rest is a prior: the relative rates of conv : depthwise : dense, the time to start an operation, and the copy rate,
which is twice the board's memcpy bandwidth because copying one byte moves two. With one or two published rows per fit
this is a first fit: the residuals say how well the rows agree with the model, nothing was held out to validate it.

`--check` compares the numbers and the residual comments with targets/ instead of printing TOML, and exits 1 where they
differ.
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from scipy.optimize import minimize_scalar

from edgeprune.cost.model import CostModel
from edgeprune.quiet import silence
from edgeprune.records.network import Network
from edgeprune.target import QUANTIZE_MODES, CostRates, load_target

TARGETS = Path(__file__).resolve().parents[1] / "targets"

# Relative compute rates. Depthwise kernels do few MACs per value loaded; dense layers at batch 1 use a weight once.
# The dotprod instruction speeds up int8 matrix products about twice but not depthwise kernels.
DEPTHWISE, DEPTHWISE_INT8_DOTPROD, DENSE = 0.3, 0.15, 0.5

# Dynamic range, relative to float. No published row, so assumed: convolutions are not taken by XNNPACK and ran 1.2
# (MobileNet) and 2.1 (MobileNetV2) times slower than float on an x86-64 host with one thread; Dense layers needed 0.75
# of float's instructions on an emulated Cortex-A72.
DYNAMIC_CONV, DYNAMIC_DENSE = 0.6, 1 / 0.75

# Sparse kernels, per nonzero weight; the comments of targets/ say from where. Cortex-A53 and x86 gain nothing.
SPARSE_RATIO = 0.3
WITHOUT_SPARSE_GAIN = ("rpi3", "rpi-zero-2w", "host")

# The precisions that rows are published for; the other modes follow from them.
FITTED = ("none", "int8")

Rows = dict[str, dict[str, float]]  # precision -> model and setup -> milliseconds


@dataclass(frozen=True)
class Board:
    """What is known of one board. `memcpy_mb_s` and `op_us` are not fitted; `origin` is what its rows are called."""

    memcpy_mb_s: int
    op_us: float
    rows: Rows
    dotprod: bool = False
    origin: str = "published"


@dataclass(frozen=True)
class Scaled:
    """A board without a published row: the rates of `base`, times `factor`."""

    base: str
    factor: float
    memcpy_mb_s: int
    op_us: float


def rows(none: dict[str, float], int8: dict[str, float] | None = None) -> Rows:
    return {"none": none, "int8": int8} if int8 else {"none": none}


# EfficientDet-lite0, four threads, Pi 4 over Pi 5 (TFLite 2.18).
PI5_FLOAT, PI5_INT8 = 175.8 / 62.2, 78.0 / 22.9

# Peak float rate of the big cores: clock x 128-bit multiply-add pipes x cores.
PIXEL4_PEAK = (2.84 + 3 * 2.42) * 2
PIXEL6_PEAK = 2 * 2.80 * 4 + 2 * 2.25 * 2
PIXEL8_PEAK = 2.91 * 4 + 4 * 2.37 * 2

# op_us is assumed for every board: the time to start an operation on all threads, longer on slower cores.
BOARDS: dict[str, Board | Scaled] = {
    # XNNPACK README, multi-threaded, Raspbian (32-bit on the Pi 3+).
    "rpi3": Board(1120, 6.0, rows({"V1": 114, "V2": 79}, {"V1": 46, "V2": 30})),
    "rpi-zero-2w": Scaled("rpi3", 1.0 / 1.4, 1300, 6.0 * 1.4),
    # XNNPACK README, multi-threaded, ARM64.
    "rpi4": Board(2500, 3.0, rows({"V1": 77, "V2": 46}, {"V1": 24, "V2": 17})),
    "rpi5": Board(
        5650,
        1.5,
        rows({"V1": 77 / PI5_FLOAT, "V2": 46 / PI5_FLOAT}, {"V1": 24 / PI5_INT8, "V2": 17 / PI5_INT8}),
        dotprod=True,
        origin="the scaled rows",
    ),
    # TFLite documentation, Android 10, four threads. Bandwidth assumed as on the Pi 5, whose core is the same.
    "pixel4": Board(5650, 1.5, rows({"V1": 14.0}, {"V1": 5.0}), dotprod=True),
    "pixel6": Scaled("pixel4", PIXEL6_PEAK / PIXEL4_PEAK, 5650, 1.5),
    "pixel8": Scaled("pixel4", PIXEL8_PEAK / PIXEL4_PEAK, 5650, 1.5),
    # XNNPACK README, both big cores of a Pixel and of a Pixel 3a. Bandwidth and int8 assumed as on the Pi 4.
    "android-arm64": Board(2500, 3.0, rows({"V1 Pixel": 43, "V2 Pixel": 26, "V1 Pixel 3a": 46, "V2 Pixel 3a": 28})),
    # Measured once: ai-edge-litert 2.3.0, shared x86-64 virtual machine with AVX-512, one thread, fastest of 80 runs.
    "host": Board(22000, 0.5, rows({"V1": 4.70, "V2": 3.03}, {"V1": 1.70, "V2": 1.43}), origin="measured"),
}


def trace_networks() -> dict[str, Network]:
    """MobileNet (V1) and MobileNetV2 (V2) at 224x224 with random weights, as edgeprune sees them."""
    silence()
    import keras

    from edgeprune.pipeline.analysis import analyse

    return {
        "V1": analyse(keras.applications.MobileNet(input_shape=(224, 224, 3), weights=None)).network,
        "V2": analyse(keras.applications.MobileNetV2(input_shape=(224, 224, 3), weights=None)).network,
    }


def rates_at(scale: float, board: Board | Scaled, depthwise: float) -> CostRates:
    return CostRates(
        conv_gmacs=scale,
        depthwise_gmacs=scale * depthwise,
        dense_gmacs=scale * DENSE,
        copy_gb_s=2 * board.memcpy_mb_s / 1000,
        op_us=board.op_us,
    )


def predict_ms(network: Network, rates: CostRates, precision: str, channel_multiple: int) -> float:
    """Milliseconds that edgeprune predicts for one inference of the unpruned network."""
    return float(CostModel(network, rates, precision, channel_multiple).latency_ms(network.full))


def fit(name: str, board: Board, precision: str, networks: dict[str, Network]) -> tuple[CostRates, dict[str, float]]:
    """The rates whose predictions are nearest to the rows in log space, and predicted / published - 1 per row.

    The residuals are those of the rounded rates, which are the ones that ship.
    """
    depthwise = DEPTHWISE_INT8_DOTPROD if board.dotprod and precision == "int8" else DEPTHWISE
    published = board.rows[precision]
    channel_multiple = load_target(name).channel_multiple

    def ratios(rates: CostRates) -> dict[str, float]:
        # a row is named by its network, V1 or V2, and what it ran on
        return {
            row: predict_ms(networks[row[:2]], rates, precision, channel_multiple) / ms for row, ms in published.items()
        }

    found = minimize_scalar(
        lambda log_scale: sum(
            math.log(ratio) ** 2 for ratio in ratios(rates_at(math.exp(log_scale), board, depthwise)).values()
        ),
        bounds=(math.log(0.1), math.log(10_000)),
        method="bounded",
        options={"xatol": 1e-9},
    )
    rates = rates_at(math.exp(found.x), board, depthwise)
    return rates, {row: ratio - 1 for row, ratio in ratios(rounded(rates)).items()}


def times(rates: CostRates, conv: float, depthwise: float, dense: float) -> CostRates:
    return replace(
        rates,
        conv_gmacs=rates.conv_gmacs * conv,
        depthwise_gmacs=rates.depthwise_gmacs * depthwise,
        dense_gmacs=rates.dense_gmacs * dense,
    )


def fit_board(name: str, networks: dict[str, Network]) -> tuple[dict[str, CostRates], list[str]]:
    """The rates of every quantization mode of a board, and one line per residual or assumption."""
    board = BOARDS[name]
    notes = []
    fitted: dict[str, CostRates] = {}
    if isinstance(board, Scaled):
        base, _ = fit_board(board.base, networks)
        for precision in FITTED:
            scaled = times(base[precision], *[board.factor] * 3)
            fitted[precision] = replace(scaled, copy_gb_s=2 * board.memcpy_mb_s / 1000, op_us=board.op_us)
        notes.append(f"No published row: compute rates of {board.base} times {board.factor:.2f}.")
    else:
        for precision in board.rows:
            fitted[precision], residuals = fit(name, board, precision, networks)
            listed = ", ".join(
                f"{row} {board.rows[precision][row]:.3g} ms {round(value, 3) + 0.0:+.1%}"  # + 0.0: never -0.0%
                for row, value in residuals.items()
            )
            notes.append(f"Predicted against {board.origin}, {precision}: {listed}.")
        if "int8" not in fitted:
            like, _ = fit_board("rpi4", networks)
            factor = like["int8"].conv_gmacs / like["none"].conv_gmacs
            fitted["int8"] = times(fitted["none"], *[factor] * 3)
            notes.append(f"int8: no published row, float's rates times {factor:.2f} as on rpi4.")
    dense = fitted["none"]
    if name not in WITHOUT_SPARSE_GAIN:
        fitted["none"] = replace(dense, sparse_ratio=SPARSE_RATIO)
    # float16 weights are expanded to float32 when the model is loaded.
    fitted["float16"] = fitted["none"]
    fitted["dynamic"] = times(dense, DYNAMIC_CONV, DYNAMIC_CONV, DYNAMIC_DENSE)
    return {mode: rounded(rates) for mode, rates in fitted.items()}, notes


def rounded(rates: CostRates) -> CostRates:
    return CostRates(**{name: float(f"{value:.3g}") for name, value in vars(rates).items()})


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("boards", nargs="*", metavar="BOARD", help=f"default: all of {', '.join(BOARDS)}")
    parser.add_argument("--check", action="store_true", help="compare with targets/*.toml; exit 1 where they differ")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.boards if name not in BOARDS]
    if unknown:
        parser.error(f"unknown board {unknown[0]}; allowed: {', '.join(BOARDS)}")
    networks = trace_networks()
    different = []
    for name in arguments.boards or BOARDS:
        fitted, notes = fit_board(name, networks)
        print(f"# {name}")
        for note in notes:
            print(f"# {note}")
        if arguments.check:
            lines = (TARGETS / f"{name}.toml").read_text(encoding="utf-8").splitlines()
            same = dict(load_target(name).cost) == fitted and all(f"# {note}" in lines for note in notes)
            print(f"# targets/{name}.toml {'holds these rates and residuals' if same else 'DIFFERS'}")
            different += [] if same else [name]
            continue
        for mode in QUANTIZE_MODES:
            print(f"[cost.{mode}]")
            print("\n".join(f"{key} = {value}" for key, value in vars(fitted[mode]).items()))
        print()
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
