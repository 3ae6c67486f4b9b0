"""Fashion-MNIST: 70,000 photographs of clothes, 28x28 gray, in ten classes.

`edgeprune.toml` names `load` below as `data:load`. The images come from the first of these that is there:
    1. the folder named by the environment variable FASHION_MNIST (or given to `load`)
    2. /usr/share/datasets/fashion-mnist, where Debian's package dataset-fashion-mnist puts them
    3. keras.datasets.fashion_mnist, which downloads them once
A folder holds the four standard files, `train-images-idx3-ubyte.gz` and so on.
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from pathlib import Path

import numpy as np

from edgeprune.errors import InputError

DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
CLASSES = 10
IMAGE_SIZE = 28
IDX_UBYTE = 0x08

Arrays = tuple[np.ndarray, np.ndarray]


def read_idx(path: Path, rank: int) -> np.ndarray:
    """One gzipped IDX file as a uint8 array of `rank` axes.

    The format (from the MNIST database's page): two zero bytes, the element type, the number of axes, each axis's
    length as a big-endian uint32, then the elements in C order.

    Raises:
        InputError: the file is missing, not gzip, cut short, too long, or holds another type or rank.
    """
    try:
        content = gzip.decompress(path.read_bytes())
    except FileNotFoundError as error:
        raise InputError(
            f"{path} is missing; the folder must hold the four *-ubyte.gz files of Fashion-MNIST"
        ) from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{path} is not a whole gzip file ({error}); download it again") from error
    header = 4 + 4 * rank
    if len(content) < header:
        raise InputError(
            f"{path} holds {len(content)} bytes, less than the {header} of an IDX header; download it again"
        )
    zeros, kind, axes = struct.unpack_from(">HBB", content)
    if zeros != 0 or kind != IDX_UBYTE or axes != rank:
        wanted = struct.pack(">HBB", 0, IDX_UBYTE, rank).hex()
        raise InputError(
            f"{path} starts with {content[:4].hex()}, not with {wanted} (IDX, unsigned bytes, {rank} axes)"
        )
    shape = struct.unpack_from(f">{rank}I", content, 4)
    expected = math.prod(shape)
    if len(content) - header != expected:
        raise InputError(
            f"{path} says its shape is {shape}, {expected} bytes, but holds {len(content) - header}; download it again"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def read_folder(folder: Path) -> tuple[Arrays, Arrays]:
    """((x_train, y_train), (x_test, y_test)) from the four IDX files: x (n, 28, 28) uint8, y (n,) uint8 in 0..9.

    Raises:
        InputError: a file is bad, images and labels differ in number, or a value is out of range.
    """
    train, test = (read_pair(folder, prefix) for prefix in ("train", "t10k"))
    return train, test


def read_pair(folder: Path, prefix: str) -> Arrays:
    """The images and labels of one split, checked against each other."""
    images = read_idx(folder / f"{prefix}-images-idx3-ubyte.gz", rank=3)
    labels = read_idx(folder / f"{prefix}-labels-idx1-ubyte.gz", rank=1)
    if images.shape[1:] != (IMAGE_SIZE, IMAGE_SIZE):
        raise InputError(f"{folder}: {prefix} images are {images.shape[1:]}, expected ({IMAGE_SIZE}, {IMAGE_SIZE})")
    if len(images) != len(labels) or len(images) == 0:
        raise InputError(f"{folder}: {prefix} has {len(images)} images and {len(labels)} labels; they must be as many")
    if labels.max() >= CLASSES:
        raise InputError(f"{folder}: {prefix} has a label {labels.max()}; allowed: 0 to {CLASSES - 1}")
    return images, labels


def raw_images(folder: Path | None = None) -> tuple[Arrays, Arrays]:
    """The uint8 arrays, from `folder` or from the first source named above.

    Raises:
        InputError: the named folder's files are missing or bad, or nothing is there and the download failed.
    """
    if folder is None and "FASHION_MNIST" in os.environ:
        folder = Path(os.environ["FASHION_MNIST"])
    if folder is None and DEBIAN_FOLDER.is_dir():
        folder = DEBIAN_FOLDER
    if folder is not None:
        return read_folder(folder)
    import keras

    try:
        return keras.datasets.fashion_mnist.load_data()
    except Exception as error:  # a failed download is a bare Exception in Keras
        raise InputError(
            f"Fashion-MNIST is not on this machine and could not be downloaded ({error}); "
            "sudo apt-get install dataset-fashion-mnist, or set FASHION_MNIST to a folder with its *-ubyte.gz files"
        ) from error


def load(folder: Path | None = None, limit: int | None = None) -> tuple[Arrays, Arrays]:
    """(train, validation), each (x, y): x (n, 28, 28, 1) float32 in 0..1, y (n,) int64 in 0..9.

    The standard test images are the validation data. `limit` keeps only that many training images and a sixth as many
    for validation (the proportion of the whole set).
    """
    (x_train, y_train), (x_val, y_val) = raw_images(folder)
    train_count = len(x_train) if limit is None else limit
    val_count = len(x_val) if limit is None else max(1, limit // 6)
    return pixels(x_train, y_train, train_count), pixels(x_val, y_val, val_count)


def pixels(images: np.ndarray, labels: np.ndarray, count: int) -> Arrays:
    """The first `count` images as the network takes them."""
    return images[:count, ..., np.newaxis].astype(np.float32) / 255.0, labels[:count].astype(np.int64)
