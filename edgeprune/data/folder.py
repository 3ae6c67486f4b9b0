"""Splits over a folder with one subfolder of images per class."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeprune.data.image import SUFFIXES, check_image, read_image, supports_channels
from edgeprune.data.indexed import IndexedSplit
from edgeprune.data.labels import LabelLayout, conform, layout_of
from edgeprune.data.signature import Signature
from edgeprune.errors import InputError
from edgeprune.progress import progress

_VALIDATION_NAMES = ("validation", "val", "test")


@dataclass(frozen=True)
class ImageList:
    """The image files of a folder: sorted class names, files class by class (sorted), and (n,) int class numbers."""

    root: Path
    class_names: tuple[str, ...]
    files: tuple[Path, ...]
    labels: np.ndarray


class FolderSplit(IndexedSplit):
    """Image files that are decoded when a batch needs them; see image.read_image.

    x is (n, height, width, channels) float32 in 0..255, y the class numbers in alphabetical order of the
    subfolders (or one-hot rows, see Port.one_hot).
    """

    def __init__(self, images: ImageList, signature: Signature, positions: np.ndarray) -> None:
        super().__init__(signature, len(positions))
        self._images = images
        self._positions = positions
        self._layout = layout_of((), signature.outputs[0]) or LabelLayout(classes=True)

    def subset(self, positions: np.ndarray) -> FolderSplit:
        """The images at `positions` of this split as a split of their own."""
        return FolderSplit(self._images, self.signature, self._positions[positions])

    def take_inputs(self, positions: np.ndarray) -> tuple[np.ndarray, ...]:
        """See IndexedSplit.take_inputs."""
        port = self.signature.inputs[0]
        height, width, channels = (int(size or 0) for size in port.shape)
        batch = np.empty((len(positions), height, width, channels), dtype=np.float32)
        for row, index in enumerate(self._positions[positions]):
            batch[row] = read_image(self._images.files[index], height, width, channels)
        return (batch.astype(port.dtype, copy=False),)

    def take_labels(self, positions: np.ndarray) -> tuple[np.ndarray, ...]:
        """See IndexedSplit.take_labels."""
        numbers = self._images.labels[self._positions[positions]]
        if self.signature.outputs[0].one_hot:
            return (np.eye(len(self._images.class_names), dtype=np.float32)[numbers],)
        return (conform(numbers, self._layout),)

    def classes(self) -> np.ndarray:
        """(size,) class numbers."""
        return np.asarray(self._images.labels[self._positions])

    def fingerprint(self) -> str:
        """sha256 over the files' names, sizes and modification times."""
        digest = hashlib.sha256()
        for index in self._positions:
            file = self._images.files[index]
            status = file.stat()
            name = file.relative_to(self._images.root).as_posix()
            digest.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
        return digest.hexdigest()


def read_folder(root: Path, signature: Signature) -> tuple[FolderSplit, FolderSplit | None]:
    """The images under `root`, and those of its validation part when it has one.

    root: one subfolder per class, or `train/` and optionally `validation/` (or `val/`, `test/`), each with one
    subfolder per class. Every file is decoded once to find damaged ones before hours of training.

    Raises:
        InputError: the model is no image classifier with as many classes, a file is damaged, or there are no images.
    """
    _check_signature(signature)
    subfolders = {entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith(".")}
    if "train" not in subfolders or not subfolders <= {"train", *_VALIDATION_NAMES}:
        return _checked_split(list_images(root), signature), None
    train = list_images(root / "train")
    part = next((name for name in _VALIDATION_NAMES if name in subfolders), None)
    if part is None:
        return _checked_split(train, signature), None
    validation = list_images(root / part, train.class_names)
    return _checked_split(train, signature), _checked_split(validation, signature)


def list_images(root: Path, class_names: tuple[str, ...] | None = None) -> ImageList:
    """Find the images under `root`, one subfolder per class (searched to any depth, in alphabetical order).

    class_names: the classes of the training part; a validation part may lack some but not add any.

    Raises:
        InputError: no class subfolders, no images, or an unknown class.
    """
    found = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not found:
        raise InputError(f"{root} has no subfolders; put the images of each class into a subfolder of its own")
    names = class_names or tuple(found)
    unknown = [name for name in found if name not in names]
    if unknown:
        raise InputError(f'{root} has the class "{unknown[0]}", which the training part lacks: {", ".join(names)}')
    files: list[Path] = []
    labels: list[int] = []
    for number, name in enumerate(names):
        images = sorted(_image_files(root / name))
        files += images
        labels += [number] * len(images)
    if not files:
        raise InputError(f"{root} holds no images in its subfolders; readable are {', '.join(sorted(SUFFIXES))}")
    return ImageList(root, names, tuple(files), np.array(labels, dtype=np.int64))


def _image_files(folder: Path) -> Iterable[Path]:
    for parent, _, names in os.walk(folder):
        for name in names:
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES:
                yield Path(parent) / name


def _check_signature(signature: Signature) -> None:
    if len(signature.inputs) != 1 or len(signature.outputs) != 1:
        raise InputError(
            f"a folder of images fits a model with one input and one output; this one has {len(signature.inputs)} and "
            f"{len(signature.outputs)}; use a .npz file or package.module:function"
        )
    shape = signature.inputs[0].shape
    if len(shape) != 3 or not supports_channels(shape[-1]):
        raise InputError(
            f"a folder of images fits a model input (height, width, channels) with 1, 3 or 4 channels; "
            f"this model takes {shape}; use a .npz file or package.module:function"
        )
    if None in shape:
        raise InputError(f"the model's input size {shape} is open; give --input-shape, e.g. 224,224,{shape[-1]}")
    if layout_of((), signature.outputs[0]) is None:
        raise InputError(
            f"a folder gives one class per image, but the model's output is {signature.outputs[0].shape}; "
            "use a .npz file or package.module:function"
        )


def _checked_split(images: ImageList, signature: Signature) -> FolderSplit:
    width = signature.outputs[0].shape[-1] if signature.outputs[0].shape else 1
    needed = 2 if width == 1 else width
    if needed is not None and len(images.class_names) != needed:
        raise InputError(
            f"{images.root} has {len(images.class_names)} class subfolders, the model's output tells {needed} classes "
            "apart; there must be one subfolder per class, in alphabetical order (it may be empty)"
        )
    workers = os.cpu_count() or 1
    with progress("checking images", len(images.files)) as advance, ThreadPoolExecutor(workers) as pool:
        for _ in pool.map(check_image, images.files):
            advance(1, "")
    return FolderSplit(images, signature, np.arange(len(images.files)))
