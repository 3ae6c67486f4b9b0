"""Keras 2 model files: telling them apart and reading their settings, without TensorFlow."""

from __future__ import annotations

import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

from edgeprune.errors import InputError
from edgeprune.interop.packages import WRAPPERS

METADATA = "keras_metadata.pb"
# What json, h5py and zipfile raise on damaged files: nesting without end, bad headers, unknown methods, cut streams.
UNREADABLE = (
    OSError,
    ValueError,
    TypeError,
    AttributeError,
    RuntimeError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
)
# Layers of Keras 2 that Keras 3 does not have.
_ONLY_KERAS_2 = {*WRAPPERS, "TFOpLambda", "SlicingOpLambda", "ThresholdedReLU"}


def is_keras2_folder(path: Path) -> bool:
    """Whether `path` is a SavedModel folder that tf_keras wrote."""
    return (path / "saved_model.pb").is_file() and (path / METADATA).is_file()


def keras_version(path: Path) -> str:
    """The version of Keras that wrote the .h5 or .keras file, such as "2.15.0"; "" where it doesn't say."""
    try:
        return str(_archived(path, "metadata.json")["keras_version"] if _is_archive(path) else _h5_text(path, True))
    except (KeyError, *UNREADABLE):
        return ""


def keras2_version(path: Path) -> str:
    """The version of Keras 2 that wrote the .h5 or .keras file, or ""."""
    version = keras_version(path)
    return version if version.startswith("2.") else ""


def must_convert(path: Path) -> bool:
    """Whether Keras 3 can't read this Keras 2 file, or would read it as a model with other outputs.

    Keras 3 reads "hard_sigmoid" as clip(x / 6 + 0.5, 0, 1), where Keras 2 means clip(x / 5 + 0.5, 0, 1).
    """
    try:
        pairs = list(_strings(read_config(path)))
    except (InputError, RecursionError):
        return False
    return any(value == "hard_sigmoid" or (key == "class_name" and value in _ONLY_KERAS_2) for key, value in pairs)


def read_config(path: Path) -> Any:
    """The config of the model in an .h5 or .keras file: JSON values.

    Raises:
        InputError: the file can't be read or holds no model config.
    """
    try:
        return _archived(path, "config.json") if _is_archive(path) else json.loads(_h5_text(path, False))
    except FileNotFoundError:
        raise InputError(f"no model file {path}; give an .h5 or .keras file or a SavedModel folder") from None
    except KeyError as error:
        raise InputError(f"{path} holds no model config; save the whole model with model.save('model.h5')") from error
    except UNREADABLE as error:
        raise InputError(f"{path} can't be read: {' '.join(str(error).split())[:200]}; save the model again") from error


def _is_archive(path: Path) -> bool:
    with open(path, "rb") as handle:
        return handle.read(2) == b"PK"


def _archived(path: Path, member: str) -> Any:
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read(member))


def _h5_text(path: Path, version: bool) -> str:
    import h5py

    with h5py.File(path, "r") as file:
        text = file.attrs["keras_version" if version else "model_config"]
    return text.decode("utf-8") if isinstance(text, bytes) else str(text)


def _strings(value: Any, key: str = "") -> Any:
    """Every (key, string) pair in a nest of JSON values."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _strings(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner, key)
    elif isinstance(value, str):
        yield key, value
