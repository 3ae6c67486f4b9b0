"""Pictures of sparse kernels: a cell of the picture is as strong as the share of its weights that is kept."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgeprune.records.masks import MaskPicture

# Pictures on a page; a model may have hundreds of kernels.
MOST = 24
# One colour with changing opacity is legible on light and on dark pages alike.
_COLOUR = (30, 115, 215)
# Pixels of a cell, and the least and most pixels of a picture's sides.
_CELL, _LEAST, _MOST_SIDE = 4, 24, 176


@dataclass(frozen=True)
class Drawn:
    """A picture ready for the page: a PNG as a data URI, its size in CSS pixels, and the largest share in a cell."""

    picture: MaskPicture
    uri: str
    width: int
    height: int
    strongest: float


def drawn(pictures: Sequence[MaskPicture]) -> tuple[Drawn, ...]:
    """The MOST largest kernels, in their order."""
    largest = sorted(range(len(pictures)), key=lambda n: -pictures[n].outputs * pictures[n].inputs)[:MOST]
    return tuple(_drawn(pictures[number]) for number in sorted(largest))


def _drawn(picture: MaskPicture) -> Drawn:
    rows, columns = picture.kept.shape
    strongest = float(picture.kept.max()) or 1.0
    opacity = np.rint(255 * picture.kept / strongest).astype(np.uint8)
    uri = "data:image/png;base64," + base64.b64encode(_png(opacity)).decode("ascii")
    return Drawn(picture, uri, _pixels(columns), _pixels(rows), strongest)


def _pixels(cells: int) -> int:
    return min(max(cells * _CELL, _LEAST), _MOST_SIDE)


def _png(opacity: np.ndarray) -> bytes:
    """A PNG of one colour. opacity: (rows, columns) uint8."""
    rows, columns = opacity.shape
    pixels = np.empty((rows, columns, 4), np.uint8)
    pixels[..., :3] = _COLOUR
    pixels[..., 3] = opacity
    # every row starts with the number of its filter; 0 is none
    lines = np.concatenate([np.zeros((rows, 1), np.uint8), pixels.reshape(rows, -1)], axis=1)
    header = struct.pack(">IIBBBBB", columns, rows, 8, 6, 0, 0, 0)  # 8 bits a channel, RGBA
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in parts)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
