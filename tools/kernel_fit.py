"""Kernel coefficients of a board from instructions counted on its emulation (tools/kernel_counts.json).

Instructions of a matrix product are (tiled positions) x (tiled outputs) x (tiled inputs + start) x a, see
`edgeprune.cost.latency_terms`; the tile sizes are in the kernel's name, the rest is fitted by non-negative least
squares of the relative error.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import nnls

from edgeprune.cost.one_op import LayerShape
from edgeprune.cost_rates import CostRates

COUNTS = Path(__file__).with_name("kernel_counts.json")
# XNNPACK's depthwise kernels by precision; TFLite's own, which run dynamic range, take 8 at a time.
_DEPTHWISE_COLUMNS = {"none": 8, "int8": 16, "dynamic": 8}
# on Cortex-A53, float32
_DEPTHWISE_COLUMNS_A53 = 4
# the measure of the narrow kernel: 12 outputs against 16 of the wide one, on 14 x 14 positions of 64 inputs
_NARROW_OUTPUTS, _WIDE_OUTPUTS = 12, 16

Row = tuple[LayerShape, int, str]


def counted(board: str, mode: str) -> list[Row]:
    """(layer, instructions, tile of its kernel) of a board."""
    rows = json.loads(COUNTS.read_text(encoding="utf-8"))[board][mode]
    return [_row(*row) for row in rows]


def _row(op: str, size: int, inputs: int, outputs: int, kernel: int, stride: int, count: int, tile: str) -> Row:
    return LayerShape(op, size, size, inputs, outputs, (kernel, kernel), (stride, stride)), count, tile


def instruction_rates(board: str, mode: str) -> CostRates:
    """Rates at which one instruction takes one nanosecond: conv_gmacs is multiply-accumulates per instruction, and so
    on.

    Memory and starts are left to the board's own constants: copying is free and so is starting.
    """
    rows = [(layer, count, tile) for layer, count, tile in counted(board, mode) if count]
    tiles = Counter(tile for layer, _, tile in rows if layer.op == "CONV_2D" and tile)
    shape = tiles.most_common(1)[0][0] if tiles else "1x1x1"
    mr, nr, kr = map(int, shape.split("x"))
    convolutions = [
        (layer, count)
        for layer, count, tile in rows
        if layer.op == "CONV_2D" and layer.height > 1 and (mode == "dynamic" or tile in (shape, ""))
    ]
    conv = fit([(conv_features(layer, mr, nr, kr), count) for layer, count in convolutions])
    wide = [(layer, count) for layer, count, _ in rows if layer.op == "FULLY_CONNECTED" and layer.outputs % 8 == 0]
    dense = fit([(dense_features(layer, nr, kr), count) for layer, count in wide])
    columns = _DEPTHWISE_COLUMNS[mode] if tiles else 1
    if board.startswith("rpi-zero-2w") and mode == "none":
        columns = _DEPTHWISE_COLUMNS_A53
    deep = [(layer, count) for layer, count, _ in rows if layer.op == "DEPTHWISE_CONV_2D"]
    depthwise = fit([(depthwise_features(layer, columns), count) for layer, count in deep])
    return CostRates(
        conv_gmacs=1 / conv[0],
        depthwise_gmacs=1 / depthwise[0],
        dense_gmacs=1 / dense[0],
        copy_gb_s=float("inf"),
        op_us=0.0,
        gips=1.0,
        conv_rows=float(mr),
        conv_columns=float(nr),
        conv_depth=float(kr),
        conv_tap=conv[1] / conv[0],
        conv_start=conv[2] / conv[0],
        conv_input=conv[3] / conv[0],
        conv_narrow=narrow(rows, nr) if mode == "none" else 0.0,
        dense_start=dense[1] / dense[0],
        depthwise_columns=float(columns),
        depthwise_start=depthwise[2] / depthwise[0],
        depthwise_tap=depthwise[1] / depthwise[0],
    )


def conv_features(layer: LayerShape, mr: int, nr: int, kr: int) -> list[float]:
    """What a, conv_tap, conv_start and conv_input multiply."""
    rows, columns = layer.output_size
    made = _up(rows * columns, mr) * _up(layer.outputs, nr)
    taps = layer.kernel[0] * layer.kernel[1]
    return [made * taps * _up(layer.inputs, kr), made * taps, made, layer.height * layer.width * layer.inputs]


def dense_features(layer: LayerShape, nr: int, kr: int) -> list[float]:
    """What a and dense_start multiply."""
    return [_up(layer.inputs, kr) * _up(layer.outputs, nr), _up(layer.outputs, nr)]


def depthwise_features(layer: LayerShape, columns: int) -> list[float]:
    """What a, depthwise_tap and depthwise_start multiply."""
    rows, across = layer.output_size
    taps, channels = layer.kernel[0] * layer.kernel[1], _up(layer.outputs, columns)
    return [rows * across * taps * channels, rows * across * taps, rows * across * channels]


def narrow(rows: list[Row], nr: int) -> float:
    """What a multiply-accumulate costs in the narrow kernel; 0 where there is none."""
    counts = {
        layer.outputs: (count, tile)
        for layer, count, tile in rows
        if (layer.op, layer.height, layer.inputs) == ("CONV_2D", 14, 64)
    }
    few, tile = counts[_NARROW_OUTPUTS]
    many = counts[_WIDE_OUTPUTS][0]
    return few / _NARROW_OUTPUTS / (many / _WIDE_OUTPUTS) if tile.split("x")[1:2] == ["2"] and nr > 2 else 0.0


def fit(rows: list[tuple[list[float], int]]) -> list[float]:
    """Non-negative coefficients with the least squared relative error."""
    features = np.array([row for row, _ in rows], dtype=np.float64)
    counts = np.array([count for _, count in rows], dtype=np.float64)
    found: Any = nnls(features / counts[:, None], np.ones(len(counts)))[0]
    return [float(value) for value in found]


def _up(count: int, multiple: int) -> int:
    return -(-count // multiple) * multiple
