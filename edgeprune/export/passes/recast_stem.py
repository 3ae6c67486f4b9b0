"""Write a first convolution of any size as 3x3 stride-2 ones of 3 channels, the only ones that sparse kernels start at.

A 3x3 kernel with stride 2 and padding 1 reads y[2i-1], y[2i], y[2i+1] for output i, along each axis. What y holds is
free: y is made from the image x before the cluster. With stride 1 and y[2i] = x[i+1], y[2i+1] = x[i] it reads x[i-1],
x[i+1], x[i]: all that a 3x3 stride-1 kernel reads. Larger kernels are cut into tiles of up to three rows and columns
each, more channels into groups of three, and the outputs are added. y[-1] is always a padded zero, so a tile can use
its first row only where the image is padded there too; every other tile has two.

Sparse kernels run from then on. The stem itself costs what its tiles cost: a 3x3 kernel one tile, 5x5 four, 7x7 nine.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from edgeprune.export.passes.layer_checks import is_linear, layer_refusal
from edgeprune.export.passes.layer_graph import Call, LayerGraph, remade
from edgeprune.export.passes.report import PassReport, Refusal
from edgeprune.export.passes.stops import first_stop
from edgeprune.export.passes.windows import Axis, Windows, is_accepted_stem, is_stem, windows_of

NAME = "recast_stem"
EXACTNESS = "exact: the same products, summed in another order"

# 7x7 of 3 channels takes nine: 1.7 times its multiplications.
_MOST_TILES = 9
_CHANNELS = 3


@dataclass(frozen=True)
class Tile:
    """Which rows (or columns) of the old kernel a 3x3 kernel holds as its own three; None for zeros."""

    first: int | None
    middle: int | None
    last: int | None

    def places(self) -> tuple[list[int], list[int]]:
        """(rows of the 3x3 kernel, rows of the old one)."""
        held = [(new, old) for new, old in enumerate((self.first, self.middle, self.last)) if old is not None]
        return [new for new, _ in held], [old for _, old in held]


def tiles(kernel: int, stride: int, before: int) -> tuple[Tile, ...]:
    """The tiles of one axis; each row of the kernel is in one. before: zeros in front of the image."""
    rows = list(range(kernel))
    found = []
    last = stride if stride == 2 else min(before, kernel - 1)
    if before >= 1 and stride <= last < kernel:
        # output 0 reads row `last - stride` in the padding
        middle = last - 1 if stride == 2 else next((row for row in rows if row not in (last - 1, last)), None)
        found.append(Tile(last - stride, middle, last))
        rows = [row for row in rows if row not in (last - stride, middle, last)]
    while rows:
        # With stride 2 neighbours make y a part of the image as it is.
        pair = rows[:2] if stride == 1 or rows[1:2] == [rows[0] + 1] else rows[:1]
        found.append(Tile(None, pair[0], pair[1] if len(pair) == 2 else None))
        rows = rows[len(pair) :]
    return tuple(found)


def refusal(graph: LayerGraph, call: Call) -> str | None:
    """Why a first convolution stays, though sparse kernels can't start at it."""
    layer = call.operation
    reason = layer_refusal(graph, call)
    if reason is not None:
        return reason
    if layer.groups != 1 or layer.dilation_rate != (1, 1):
        return f"groups {layer.groups}, dilation {layer.dilation_rate[0]}; sparse kernels start at a plain convolution"
    if layer.strides not in ((1, 1), (2, 2)):
        height, width = layer.strides
        return f"stride {height}x{width}; sparse kernels start at stride 2, which can stand for stride 1 and 2 only"
    windows = windows_of(graph, call)
    if isinstance(windows, str):
        return windows
    count = len(_tiles_of(call, windows))
    if count > _MOST_TILES:
        height, width = layer.kernel_size
        return (
            f"a {height}x{width} convolution of {call.tensors[0].shape[-1]} channels; sparse kernels start at 3x3 ones "
            f"of 3 channels, and it would take {count} of them (at most {_MOST_TILES} pay)"
        )
    return first_stop(graph, call)


def run(graph: LayerGraph) -> PassReport:
    """Recast every convolution of an image that sparse kernels can't start at."""
    changed, refusals = [], []
    for call in list(graph.calls):
        if not is_stem(graph, call) or is_accepted_stem(graph, call) or len(call.tensors[0].shape) != 4:
            continue
        reason = refusal(graph, call)
        if reason is not None:
            refusals.append(Refusal(call.name, reason))
            continue
        windows = windows_of(graph, call)
        assert isinstance(windows, Windows)  # or it would have been refused
        _recast(graph, call, windows)
        changed.append(call.name)
    return PassReport(NAME, EXACTNESS, tuple(changed), tuple(refusals))


def _tiles_of(call: Call, windows: Windows) -> list[tuple[Tile, Tile, int]]:
    """(rows, columns, first channel) of each 3x3 convolution."""
    stride = call.operation.strides[0]
    kernel = zip(call.operation.kernel_size, windows.axes, strict=True)
    rows, columns = (tiles(size, stride, axis.before) for size, axis in kernel)
    return list(product(rows, columns, range(0, call.tensors[0].shape[-1], _CHANNELS)))


def _recast(graph: LayerGraph, call: Call, windows: Windows) -> None:
    import keras

    layer = call.operation
    kernel, *bias = layer.get_weights()
    parts = _tiles_of(call, windows)
    image = _padded_image(graph, call, windows)
    total = None
    for number, (rows, columns, channel) in enumerate(parts):
        changes: dict[str, Any] = {"kernel_size": (3, 3), "strides": (2, 2), "padding": "valid"}
        if number:
            changes["use_bias"] = False
        if len(parts) > 1:
            changes["activation"] = "linear"
        pixels = _pixels(graph, call, image, windows, (rows, columns), channel)
        padded = graph.insert(call, keras.layers.ZeroPadding2D(1, name=f"{call.name}_pad"), pixels)
        new = remade(layer, **changes)
        output = graph.insert(call, new, padded)
        new.set_weights([_kernel(kernel, rows, columns, channel), *(bias if not number else [])])
        new.trainable = layer.trainable
        total = (
            output if total is None else graph.insert(call, keras.layers.Add(name=f"{call.name}_sum"), [total, output])
        )
    if len(parts) > 1 and not is_linear(layer):
        activation = keras.layers.Activation(layer.activation, name=f"{call.name}_activation")
        total = graph.insert(call, activation, total)
    graph.replace(call, total)


def _kernel(kernel: np.ndarray, rows: Tile, columns: Tile, channel: int) -> np.ndarray:
    """(kh, kw, channels, filters) -> (3, 3, 3, filters), the tile's part of it."""
    (new_rows, old_rows), (new_columns, old_columns) = rows.places(), columns.places()
    part = kernel[:, :, channel : channel + _CHANNELS]
    new = np.zeros((3, 3, _CHANNELS, kernel.shape[-1]), kernel.dtype)
    new[np.ix_(new_rows, new_columns, range(part.shape[2]))] = part[np.ix_(old_rows, old_columns)]
    return new


def _starts(call: Call, axis: Axis, tile: Tile) -> tuple[int, int]:
    """Where in the image y[0], y[2], ... and y[1], y[3], ... begin."""
    even = tile.middle if tile.middle is not None else tile.last
    assert even is not None  # no tile is empty
    odd = even + 1 if call.operation.strides[0] == 2 else tile.last if tile.last is not None else even
    return even - axis.before, odd - axis.before


def _extent(call: Call, axis: Axis, kernel: int) -> tuple[int, int]:
    """The first and the last element (excluded) of the image that any tile reads."""
    stride = call.operation.strides[0]
    starts = [_starts(call, axis, tile) for tile in tiles(kernel, stride, axis.before)]
    first = min(min(pair) for pair in starts)
    return first, max(max(pair) for pair in starts) + stride * (axis.count - 1) + 1


def _padded_image(graph: LayerGraph, call: Call, windows: Windows) -> Any:
    """The image with all the zeros that tiles read around it, and channels up to a multiple of three."""
    import keras

    amounts = [(0, 0)]
    for axis, kernel in zip(windows.axes, call.operation.kernel_size, strict=True):
        first, end = _extent(call, axis, kernel)
        amounts.append((max(-first, 0), max(end - axis.size, 0)))
    amounts.append((0, -windows.source.shape[-1] % _CHANNELS))
    if not np.any(amounts):
        return windows.source
    return graph.insert(call, keras.ops.pad, windows.source, tuple(amounts))


def _pixels(graph: LayerGraph, call: Call, image: Any, windows: Windows, pair: tuple[Tile, Tile], channel: int) -> Any:
    """y of one tile: (2 rows, 2 columns, 3), for as many outputs as the convolution has."""
    import keras

    stride = call.operation.strides[0]
    pixels = image
    if image.shape[-1] > _CHANNELS:
        pixels = _part(graph, call, pixels, 3, channel, _CHANNELS)
    for number, (axis, tile) in enumerate(zip(windows.axes, pair, strict=True)):
        shift = max(-_extent(call, axis, call.operation.kernel_size[number])[0], 0)
        even, odd = (start + shift for start in _starts(call, axis, tile))
        if stride == 2:
            pixels = _part(graph, call, pixels, number + 1, even, 2 * axis.count)
            continue
        halves = [_part(graph, call, pixels, number + 1, start, axis.count) for start in (even, odd)]
        # Side by side along the next axis, then read as one: rows (columns) of both alternate.
        both = graph.insert(call, keras.ops.concatenate, halves, axis=number + 2)
        shape = [-1, *pixels.shape[1:]]
        shape[number + 1] = 2 * axis.count
        pixels = graph.insert(call, keras.ops.reshape, both, tuple(shape))
    return pixels


def _part(graph: LayerGraph, call: Call, tensor: Any, axis: int, start: int, length: int) -> Any:
    """length elements of a tensor along an axis; the tensor itself where that is all."""
    import keras

    size = tensor.shape[axis]
    if (start, length) == (0, size):
        return tensor
    index = (slice(None),) * axis + (slice(start, start + length),)
    return graph.insert(call, keras.ops.get_item, tensor, index)
