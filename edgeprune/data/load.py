"""From what the user calls their data to a training and a validation split that fit the model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeprune.data.arrays import ArraySplit
from edgeprune.data.dataset import DatasetSplit, is_dataset
from edgeprune.data.folder import FolderSplit, read_folder
from edgeprune.data.function import call_function
from edgeprune.data.npz import read_npz
from edgeprune.data.signature import Port, Signature
from edgeprune.data.split import Split
from edgeprune.data.stratify import split_indices
from edgeprune.data.structure import in_port_order
from edgeprune.errors import InputError

_VALIDATION_KEYS = ("val", "validation", "test")
_FORMS = "file.npz, a folder with one subfolder per class, or package.module:function"


@dataclass(frozen=True)
class LoadedData:
    """Training and validation samples, and one line saying where they come from."""

    train: Split
    validation: Split
    description: str


def load_data(
    spec: Any,
    signature: Signature,
    *,
    validation: Any = None,
    validation_fraction: float = 0.2,
    seed: int = 0,
    search_path: Path | None = None,
) -> LoadedData:
    """Load labelled data for a model.

    Args:
        spec: a path or text: `file.npz` (arrays x and y, or x_train, y_train and optionally x_val, y_val or x_test,
            y_test; x_<input> and y_<output> for models with several), a folder with one subfolder of images per class
            (or train/ and validation/ with such), `package.module:function`, called without arguments. Or what such a
            function returns: (train, validation) or train alone, each an (x, y) tuple or a tf.data.Dataset of (x, y).
            x and y are arrays, or dictionaries or lists of arrays for several inputs or outputs.
        signature: of the model, see signature_of.
        validation: validation data in the same forms; used instead of any that `spec` has.
        validation_fraction: the part of the samples that is split off where no validation data are given: seeded,
            balanced by class where samples have one, every class keeping a training sample.
        seed: of the split.
        search_path: folder in which modules, and paths that don't exist from here, are looked up.

    Raises:
        InputError: the data can't be found, read or split, or don't fit the model.
    """
    train, own_validation, name = _read(spec, signature, search_path, "data")
    if validation is not None:
        held_out, _, validation_name = _read(validation, signature, search_path, "validation data")
        return _loaded(train, held_out, f"{name}, validation from {validation_name}")
    if own_validation is not None:
        return _loaded(train, own_validation, name)
    train, held_out = _split_off(train, validation_fraction, seed)
    return _loaded(train, held_out, f"{name}, {validation_fraction:.0%} split off for validation (seed {seed})")


def _loaded(train: Split, validation: Split, source: str) -> LoadedData:
    counts = ["an unknown number of" if part.size is None else str(part.size) for part in (train, validation)]
    return LoadedData(train, validation, f"{counts[0]} training and {counts[1]} validation samples from {source}")


def _split_off(data: Split, fraction: float, seed: int) -> tuple[Split, Split]:
    if isinstance(data, DatasetSplit):
        x, y = data.arrays()
        data = ArraySplit.checked(x, y, data.signature, "data")
    assert isinstance(data, (ArraySplit, FolderSplit))
    train, validation = split_indices(data.size, data.classes(), fraction, seed)
    return data.subset(train), data.subset(validation)


def _read(spec: Any, signature: Signature, search_path: Path | None, where: str) -> tuple[Split, Split | None, str]:
    """(training, validation where the data have one, name)."""
    if isinstance(spec, (str, Path)):
        path = _existing(spec, search_path)
        if path is not None and path.is_dir():
            return *read_folder(path, signature), f"{path}"
        if path is not None and path.suffix == ".npz":
            return *_from_npz(path, signature), path.name
        if path is not None:
            raise InputError(f"{path} is no data that can be read; give {_FORMS}")
        if ":" in str(spec):
            value = call_function(str(spec), search_path)
            return *_from_objects(value, signature, str(spec)), str(spec)
        raise InputError(f"the data {spec} does not exist; give {_FORMS}")
    return *_from_objects(spec, signature, where), "Python objects"


def _existing(spec: str | Path, search_path: Path | None) -> Path | None:
    path = Path(spec).expanduser()
    candidates = [path] if search_path is None else [path, search_path / path]
    return next((candidate for candidate in candidates if candidate.exists()), None)


def _from_objects(value: Any, signature: Signature, where: str) -> tuple[Split, Split | None]:
    """(train, validation) or train alone. A tuple whose first part is itself a tuple or a dataset is the former."""
    if isinstance(value, tuple) and len(value) == 2 and (isinstance(value[0], tuple) or is_dataset(value[0])):
        train, validation = value
        if validation is None:
            return _from_pair(train, signature, where), None
        return (
            _from_pair(train, signature, f"{where} (training)"),
            _from_pair(validation, signature, f"{where} (validation)"),
        )
    return _from_pair(value, signature, where), None


def _from_pair(value: Any, signature: Signature, where: str) -> Split:
    if is_dataset(value):
        return DatasetSplit(value, signature, where)
    if not isinstance(value, tuple) or len(value) != 2:
        received = f"a tuple of {len(value)}" if isinstance(value, tuple) else type(value).__name__
        raise InputError(
            f"{where}: expected an (x, y) tuple or a tf.data.Dataset, or (train, validation) of these; "
            f"received {received}"
        )
    x = tuple(_array(part, f"{where}: x") for part in in_port_order(value[0], signature.inputs, "x"))
    y = tuple(_array(part, f"{where}: y") for part in in_port_order(value[1], signature.outputs, "y"))
    return ArraySplit.checked(x, y, signature, where)


def _array(value: Any, name: str) -> np.ndarray:
    try:
        return np.asarray(value)
    except (ValueError, TypeError) as error:
        raise InputError(f"{name} can't be made an array ({error}); give numbers of one shape per sample") from error


def _from_npz(path: Path, signature: Signature) -> tuple[Split, Split | None]:
    arrays = read_npz(path)
    train = _npz_part(arrays, "train", signature, path) or _npz_part(arrays, None, signature, path)
    if train is None:
        wanted = f"{_keys('x', signature.inputs)} and {_keys('y', signature.outputs)}"
        raise InputError(
            f"{path} has the arrays {', '.join(arrays) or '(none)'}; expected {wanted} "
            "(or x_train, y_train, x_val, y_val in the same way)"
        )
    for part in _VALIDATION_KEYS:
        validation = _npz_part(arrays, part, signature, path)
        if validation is not None:
            return train, validation
    return train, None


def _npz_part(arrays: dict[str, np.ndarray], part: str | None, signature: Signature, path: Path) -> Split | None:
    x_prefix, y_prefix = ("x", "y") if part is None else (f"x_{part}", f"y_{part}")
    x = _npz_side(arrays, x_prefix, signature.inputs)
    y = _npz_side(arrays, y_prefix, signature.outputs)
    if x is None and y is None:
        return None
    if x is None or y is None:
        present, lacking = (y_prefix, x_prefix) if x is None else (x_prefix, y_prefix)
        ports = signature.inputs if x is None else signature.outputs
        raise InputError(f"{path} has {present} but lacks {_keys(lacking, ports)}; it has {', '.join(arrays)}")
    return ArraySplit.checked(x, y, signature, path.name if part is None else f"{path.name} ({part})")


def _npz_side(arrays: dict[str, np.ndarray], prefix: str, ports: tuple[Port, ...]) -> tuple[np.ndarray, ...] | None:
    if len(ports) == 1 and prefix in arrays:
        return (arrays[prefix],)
    names = [f"{prefix}_{port.name}" for port in ports]
    return tuple(arrays[name] for name in names) if all(name in arrays for name in names) else None


def _keys(prefix: str, ports: tuple[Port, ...]) -> str:
    return prefix if len(ports) == 1 else ", ".join(f"{prefix}_{port.name}" for port in ports)
