"""Published latencies, and the few constants per board that explain them.

    time = (instructions x ns per instruction + bytes / bandwidth) x (serial + (1 - serial) / threads)

Instructions are those of the board's kernels (kernel_fit.py) on the networks of published_networks.py. ns per
instruction is a constant per core design and precision over the clock, times a deviation of the board; bandwidth is
twice the board's memcpy, times one constant for all. Constants are fitted in log space by least squares, with priors
that keep a board near the others where it has few rows. Two setups of one model on one phone differ by some 25 %, so
the two sources for the Pi 4 each get a deviation of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import exp, inf, log

import numpy as np
from kernel_fit import instruction_rates
from published_networks import NETWORKS
from scipy.optimize import least_squares

from edgeprune.cost.layer_network import layer_network
from edgeprune.cost.model import CostModel
from edgeprune.records.network import Network

README, DETECTION, ANDROID = "XNNPACK README", "EfficientDet-lite0, TFLite 2.18", "TFLite documentation, Android 10"
# boards of tools/kernel_counts.json whose kernels run on each core design
KERNELS = {"A72": "rpi4", "A76": "rpi5", "A53": "rpi-zero-2w@ai-edge-litert==2.3.0"}
# relative error of a row, and how far boards lie from each other; log units
_ROW, _BOARD, _INT8, _CORE, _SETUP, _SERIAL = 0.07, 0.2, 0.1, 0.3, 0.12, 0.6


@dataclass(frozen=True)
class Board:
    """core: a key of KERNELS. memcpy_gb_s: one thread; assumed for phones. hardware: what another name runs on."""

    core: str
    ghz: float
    memcpy_gb_s: float
    hardware: str = ""


BOARDS = {
    "Pixel": Board("A72", 2.15, 6.0),
    "Pixel 2": Board("A72", 2.35, 6.0),
    "Pixel 3a": Board("A72", 2.0, 6.0),
    "Pixel 3": Board("A72", 2.8, 8.0),
    "Pixel 4": Board("A76", 2.5, 8.0),
    "Pi 2": Board("A53", 0.9, 1.0),
    "Pi 3+": Board("A53", 1.4, 1.12),
    "Pi 4": Board("A72", 1.5, 2.5),
    "Pi 4 32-bit": Board("A72", 1.5, 2.5, hardware="Pi 4"),
    "Pi 5": Board("A76", 2.4, 5.65),
}


@dataclass(frozen=True)
class Published:
    """One published latency."""

    board: str
    source: str
    network: str
    mode: str
    threads: int
    ms: float


def published() -> list[Published]:
    """All rows."""
    rows = []
    for board, many, times in (
        ("Pixel", 2, (82, 43, 49, 26)),
        ("Pixel 2", 4, (86, 27, 53, 18)),
        ("Pixel 3a", 2, (88, 46, 55, 28)),
    ):
        for (network, threads), ms in zip((("V1", 1), ("V1", many), ("V2", 1), ("V2", many)), times, strict=True):
            rows.append(Published(board, README, network, "none", threads, ms))
    for board, times in (
        ("Pi 2", (302, 191, 128, 82)),
        ("Pi 3+", (114, 79, 46, 30)),
        ("Pi 4 32-bit", (72, 41, 29, 20)),
        ("Pi 4", (77, 46, 24, 17)),
    ):
        kinds = (("V1", "none"), ("V2", "none"), ("V1", "int8"), ("V2", "int8"))
        rows += [Published(board, README, *kind, 4, ms) for kind, ms in zip(kinds, times, strict=True)]
    for board, times in (("Pixel 3", (23.9, 13.4)), ("Pixel 4", (14.0, 5.0))):
        rows += [Published(board, ANDROID, "V1", mode, 4, ms) for mode, ms in zip(("none", "int8"), times, strict=True)]
    for board, mode, series in (
        ("Pi 5", "none", (104.0, 72.9, 64.3, 62.2)),
        ("Pi 5", "int8", (44.2, 29.3, 24.8, 22.9)),
        ("Pi 4", "none", (328.7, 210.2, 182.0, 175.8)),
        ("Pi 4", "int8", (197.8, 117.0, 90.8, 78.0)),
    ):
        for threads, ms in enumerate(series, 1):
            rows.append(Published(board, DETECTION, "EfficientDet-lite0", mode, threads, ms))
    return rows


@cache
def network(name: str) -> Network:
    return layer_network(NETWORKS[name]())


@cache
def work(name: str, core: str, mode: str) -> tuple[float, float]:
    """(1e6 instructions, 1e6 bytes) of one inference."""
    rates = instruction_rates(KERNELS[core], mode)
    costs = (rates, replace(rates, copy_gb_s=1.0))
    alone, both = (float(CostModel(network(name), cost, mode, 8).latency_ms(network(name).full)) for cost in costs)
    return alone, both - alone


class Fit:
    """Log deviations by name, with their priors; found once on construction."""

    def __init__(self, rows: Sequence[Published]) -> None:
        # (mean, standard deviation)
        self.priors: dict[str, tuple[float, float]] = {"none": (0.0, inf), "int8": (-0.3, inf)}
        self.priors |= {f"{core} {mode}": (0.0, _CORE) for core in ("A53", "A76") for mode in ("none", "int8")}
        self.priors |= {f"32-bit {mode}": (0.0, _ROW * 2) for mode in ("none", "int8")}
        self.priors |= {"bandwidth": (0.0, 0.7), "serial": (log(0.15), 0.7), "serial int8": (0.0, _SERIAL)}
        self.priors |= {f"setup {mode}": (0.0, _SETUP) for mode in ("none", "int8")}
        for board in BOARDS:
            self.priors |= {board: (0.0, _BOARD), f"{board} int8": (0.0, _INT8), f"{board} serial": (0.0, _SERIAL)}
        self._place = {name: place for place, name in enumerate(self.priors)}
        mean, spread = (np.array(values) for values in zip(*self.priors.values(), strict=True))

        def residuals(x: np.ndarray) -> np.ndarray:
            found = [log(self._predict(row, lambda name: float(x[self._place[name]])) / row.ms) / _ROW for row in rows]
            return np.concatenate([found, (x - mean) / spread])

        self._x = least_squares(residuals, mean).x

    def __getitem__(self, name: str) -> float:
        return float(self._x[self._place[name]])

    def predict(self, row: Published) -> float:
        """Milliseconds of a row."""
        return self._predict(row, self.__getitem__)

    def ns_per_instruction(self, board: str, mode: str) -> float:
        """On one thread."""
        return _ns(board, mode, self.__getitem__)

    def serial(self, board: str, mode: str) -> float:
        """The share of the time that more threads don't shorten."""
        return _serial(board, mode, self.__getitem__)

    @property
    def bandwidth(self) -> float:
        """Bytes moved per byte of memcpy."""
        return 2 * exp(self["bandwidth"])

    def _predict(self, row: Published, value: Callable[[str], float]) -> float:
        board = BOARDS[row.board]
        instructions, moved = work(row.network, board.core, row.mode)
        serial = _serial(row.board, row.mode, value)
        ns = _ns(row.board, row.mode, value)
        one = instructions * ns + moved / (2 * exp(value("bandwidth")) * board.memcpy_gb_s)
        setup = exp(value(f"setup {row.mode}")) if (row.board, row.source) == ("Pi 4", DETECTION) else 1.0
        return one * setup * (serial + (1 - serial) / row.threads)


def _ns(name: str, mode: str, value: Callable[[str], float]) -> float:
    board = BOARDS[name]
    hardware = board.hardware or name
    total = value("none") + value(hardware)
    if mode == "int8":
        total += value("int8") + value(f"{hardware} int8")
    if board.core != "A72":
        total += value(f"{board.core} {mode}")
    if board.hardware:
        total += value(f"32-bit {mode}")
    return exp(total) / board.ghz


def _serial(name: str, mode: str, value: Callable[[str], float]) -> float:
    hardware = BOARDS[name].hardware or name
    odds = exp(value("serial") + value(f"{hardware} serial") + (value("serial int8") if mode == "int8" else 0.0))
    return odds / (1 + odds)


def leave_one_out(rows: Sequence[Published]) -> list[float]:
    """predicted / published - 1 of every row, by a fit to the others."""
    return [Fit([*rows[:i], *rows[i + 1 :]]).predict(row) / row.ms - 1 for i, row in enumerate(rows)]


def leave_board_out(rows: Sequence[Published]) -> list[float]:
    """The same by a fit to the rows of other boards."""
    fits = {board: Fit([row for row in rows if row.board != board]) for board in BOARDS}
    return [fits[row.board].predict(row) / row.ms - 1 for row in rows]
