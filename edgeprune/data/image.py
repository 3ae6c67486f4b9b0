"""Reading an image file the way `keras.utils.image_dataset_from_directory` does, without TensorFlow."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from edgeprune.errors import InputError

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}

# What Pillow's decoders raise on damaged files; UnidentifiedImageError is an OSError.
_DAMAGED = (
    OSError,
    EOFError,
    IndexError,
    KeyError,
    MemoryError,
    OverflowError,
    SyntaxError,
    TypeError,
    ValueError,
    Image.DecompressionBombError,
    struct.error,
    zlib.error,
)


def read_image(path: Path, height: int, width: int, channels: int) -> np.ndarray:
    """Decode one image file to (height, width, channels) float32 in 0..255.

    The image is stretched (aspect ratio not kept) by bilinear interpolation without antialiasing, as Keras does by
    default; EXIF rotation is ignored, as there. Of an animation the first frame is read.

    channels: 1 (grey), 3 (RGB) or 4 (RGBA).

    Raises:
        InputError: the file can't be decoded.
    """
    return resize_bilinear(_decode(path, _MODES[channels]), height, width)


def check_image(path: Path) -> None:
    """Decode a file and forget it. Raises InputError when it can't be decoded."""
    _decode(path, "L")


def supports_channels(channels: int | None) -> bool:
    """Whether images can be read with that many channels."""
    return channels in _MODES


def resize_bilinear(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """(h, w, c) uint8 -> (height, width, c) float32, pixel centres at half coordinates (tf.image.resize)."""
    values = pixels.astype(np.float32)
    for axis, size in ((0, height), (1, width)):
        if values.shape[axis] == size:
            continue
        source = (np.arange(size) + 0.5) * (values.shape[axis] / size) - 0.5
        low = np.floor(source)
        fraction = (source - low).astype(np.float32).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
        last = values.shape[axis] - 1
        before = np.take(values, np.clip(low, 0, last).astype(np.int64), axis=axis)
        after = np.take(values, np.clip(low + 1, 0, last).astype(np.int64), axis=axis)
        values = before + (after - before) * fraction
    return values


def _decode(path: Path, mode: str) -> np.ndarray:
    """(h, w, c) uint8."""
    try:
        with Image.open(path) as image:
            if image.mode.startswith("I"):  # 16 bits of grey: convert("L") would clip at 255
                deep = np.asarray(image)
                image_8bit = Image.fromarray((deep >> 8).clip(0, 255).astype(np.uint8))
                pixels = np.asarray(image_8bit.convert(mode))
            else:
                pixels = np.asarray(image.convert(mode))
    except _DAMAGED as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path} can't be read as an image ({reason}); replace or remove the file") from error
    return pixels[..., None] if pixels.ndim == 2 else pixels
