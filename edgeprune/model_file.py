"""Reading a user's Keras model file safely, and writing one atomically."""

from __future__ import annotations

import contextlib
import importlib
import json
import re
import sys
import warnings
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgeprune.atomic import replacing
from edgeprune.errors import InputError, nearest
from edgeprune.interop.keras2_files import is_keras2_folder, keras2_version, must_convert
from edgeprune.progress import say
from edgeprune.quiet import silence

_SUFFIXES = (".keras", ".h5", ".hdf5")
_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_ZIP_MAGIC = b"PK"
_TFLITE_MAGIC = b"TFL3"  # at byte 4

_UNKNOWN_OBJECT = re.compile(r"Could not locate (class|function) '([^']+)'|Unknown (\w+): '([^']+)'")
_UNREADABLE_LAYER = re.compile(r"Error when deserializing class '(\w+)' using config=\{.*?'name': '([^']+)'", re.DOTALL)
_CAUSE = re.compile(r"Exception encountered: (.*)", re.DOTALL)


def load_model(
    path: str | Path,
    *,
    imports: Sequence[str] = (),
    allow_lambda: bool = False,
    input_shape: Sequence[int] | None = None,
) -> Any:
    """Load a whole Keras model from a .keras, .h5 or .hdf5 file. The file is only read.

    A model of Keras 2 (tf_keras), also one wrapped by TFMOT and in a SavedModel folder, becomes an equal Keras 3 model
    where Keras 3 does not read it as it is; a line on stderr says so, and it comes uncompiled.

    imports: modules imported first, so that custom objects they register are found; the current folder
        counts as a place to import from.
    allow_lambda: turns Keras's safe mode off; a Lambda layer can run any code its file holds.
    input_shape: (H, W, C), or any shape without the batch, for a model that leaves sizes open; the model is
        rebuilt with it, weights and compiled settings carried over.

    Returns a functional or Sequential keras.Model with fixed input sizes, compiled if it was saved so (where only the
    training settings can't be read, it comes uncompiled and a line on stderr says why).

    Raises:
        InputError: a missing, damaged or foreign file, objects that can't be found, a Lambda in safe mode, or a
            model that is not built, has an open input size or is not a graph of layers; a Keras 2 model with a layer
            that Keras 3 lacks, or without the packages that read it.
    """
    path = Path(path)
    _check_file(path)
    silence()
    _import_modules(imports)
    model = _read(path, safe_mode=not allow_lambda)
    _check_graph(model, path)
    if input_shape is not None:
        model = _with_input_shape(model, tuple(input_shape))
    for tensor in model.inputs:
        if None in tensor.shape[1:]:
            raise InputError(
                f'{path}: input "{tensor.name}" has the size {_shown(tensor.shape[1:])}; '
                "a board needs a fixed size: give --input-shape H,W,C"
            )
    return model


def save_model(model: Any, path: str | Path) -> None:
    """Write `model` to a .keras file, whole or not at all.

    Raises:
        InputError: the path does not end in .keras, the disk is full or the folder can't be written.
    """
    path = Path(path)
    if path.suffix != ".keras":
        raise InputError(f"{path}: a model is saved as .keras; change the file's ending")
    with replacing(path) as temporary:
        model.save(temporary)


def _check_file(path: Path) -> None:
    """Refuse what Keras can't read, judged by the name and the first bytes."""
    if path.is_dir():
        if is_keras2_folder(path):
            return
        if (path / "saved_model.pb").exists():
            raise InputError(
                f"{path} is a TensorFlow SavedModel folder, which holds no Keras layers to prune; "
                "load the model where it was made and save it with model.save('model.keras')"
            )
        raise InputError(f"{path} is a folder; give a .keras or .h5 file")
    try:
        with open(path, "rb") as handle:
            start = handle.read(8)
    except FileNotFoundError:
        raise InputError(f"no model file {path}; {_models_beside(path)}") from None
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}; give a readable .keras or .h5 file") from error
    if not start:
        raise InputError(f"{path} is empty; save the model again")
    if start[4:8] == _TFLITE_MAGIC or path.suffix == ".tflite":
        raise InputError(
            f"{path} is a TFLite model, which can't be trained any more; "
            "give the .keras or .h5 model it was made from (`edgeprune inspect` and `bench` take .tflite)"
        )
    if path.suffix not in _SUFFIXES:
        raise InputError(f"{path} is not a Keras model file; allowed endings: {', '.join(_SUFFIXES)}")
    if path.suffix == ".keras":
        _check_archive(path, start)
    elif start != _HDF5_MAGIC:
        hint = "it is a .keras archive: rename it" if start.startswith(_ZIP_MAGIC) else "save the model again"
        raise InputError(f"{path} is not an HDF5 file; {hint}")


def _check_archive(path: Path, start: bytes) -> None:
    if start == _HDF5_MAGIC:
        raise InputError(f"{path} is an HDF5 file; rename it to {path.with_suffix('.h5').name}")
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
            missing = {"config.json", "model.weights.h5"} - set(archive.namelist())
    # What zipfile lets through from a damaged archive: bad headers, unknown methods, passwords, cut streams.
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError, EOFError, zlib.error, NotImplementedError) as error:
        raise InputError(f"{path} is damaged: {_one_line(error)}; copy or save the model again") from error
    if damaged:
        raise InputError(f"{path} is damaged: wrong checksum in {damaged}; copy or save the model again")
    if missing:
        raise InputError(f"{path} is not a whole Keras model: it lacks {', '.join(sorted(missing))}; save it again")


def _models_beside(path: Path) -> str:
    with contextlib.suppress(OSError):
        names = sorted(file.name for file in path.parent.iterdir() if file.suffix in _SUFFIXES)
        if names:
            return nearest(path.name, names[:10]) + f" (in {path.parent})"
    return f"{path.parent} holds no .keras or .h5 file"


def _import_modules(names: Sequence[str]) -> None:
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        for name in names:
            try:
                importlib.import_module(name)
            # The user's module runs any code on import; whatever it raises is the user's to mend.
            except Exception as error:
                raise InputError(
                    f"--import {name}: {type(error).__name__}: {_one_line(error)}; "
                    "give a module as Python imports it, such as package.layers"
                ) from error
    finally:
        sys.path.remove(here)


def _read(path: Path, *, safe_mode: bool) -> Any:
    import keras

    if path.is_dir():
        return _converted(path, "Keras 2")
    version = keras2_version(path)
    # Keras 3 reads no .keras file of Keras 2, and some .h5 files as a model with other outputs.
    if version and (path.suffix == ".keras" or must_convert(path)):
        return _converted(path, f"Keras {version}")

    def load(compiled: bool) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return keras.models.load_model(path, compile=compiled, safe_mode=safe_mode)

    try:
        return load(True)
    except MemoryError:
        raise
    # Keras, h5py and the layers' own from_config raise any class on a file that does not suit them.
    except Exception as error:
        if _UNKNOWN_OBJECT.search(str(error)):
            raise _explained(path, error) from error
        training_error = error
    try:
        model = load(False)
    except Exception as error:
        if version and "safe_mode" not in str(error):
            return _converted(path, f"Keras {version}")
        raise _explained(path, error) from error
    say(
        f"{path}: its training settings can't be read ({_one_line(training_error)}); "
        "loss and metric come from the config, else from the output"
    )
    return model


def _converted(path: Path, origin: str) -> Any:
    from edgeprune.interop.keras2 import from_keras2

    model = from_keras2(path)
    say(
        f"{path}: saved by {origin}, converted to an equal Keras 3 model, which is not compiled; "
        "loss and metric come from the config, else from the output"
    )
    return model


def _explained(path: Path, error: Exception) -> InputError:
    """One line for what Keras says in many."""
    text = str(error)
    version = _saved_by(path)
    layer = _UNREADABLE_LAYER.search(text)
    if layer:
        kind, name = layer.groups()
        cause = _CAUSE.search(text[layer.end() :])
        return InputError(
            f'{path}: layer "{name}" ({kind}), saved by Keras {version or "of an unknown version"}, '
            f"can't be read by Keras 3: {_one_line(cause.group(1) if cause else 'its settings are unknown')}; "
            "rebuild the model in Keras 3, call load_weights with this file and save it as .keras"
        )
    unknown = _UNKNOWN_OBJECT.search(text)
    if unknown:
        kind = unknown.group(1) or unknown.group(3)
        name = unknown.group(2) or unknown.group(4)
        return InputError(
            f'{path} uses the custom {kind} "{name}", which is not imported; decorate it with '
            "@keras.saving.register_keras_serializable() and pass --import your.module"
        )
    if "safe_mode" in text or "unsafe" in text:
        return InputError(
            f"{path} holds a Lambda layer, which can run any code; "
            "pass --allow-lambda only if you trust the file, or replace it with a layer"
        )
    if "No model config found" in text:
        return InputError(f"{path} holds weights only; save the whole model with model.save('model.keras')")
    return InputError(f"{path} can't be read as a Keras model: {_one_line(error)}; save the model again")


def _saved_by(path: Path) -> str:
    """The Keras version in the file, or ""."""
    try:
        if path.suffix == ".keras":
            with zipfile.ZipFile(path) as archive:
                return str(json.loads(archive.read("metadata.json"))["keras_version"])
        import h5py

        with h5py.File(path, "r") as file:
            return str(file.attrs["keras_version"])
    except (OSError, KeyError, ValueError, TypeError):
        return ""


def _check_graph(model: Any, path: Path) -> None:
    import keras

    if isinstance(model, keras.Sequential):
        if not model.built or not getattr(model, "inputs", None):
            raise InputError(
                f"{path}: the model is not built, so it has no weights; "
                "add keras.Input as its first layer or call it on data, train it and save it again"
            )
        return
    probe = keras.Input((1,))
    functional = type(keras.Model(probe, probe))
    if not isinstance(model, functional):
        raise InputError(
            f"{path}: {type(model).__name__} is a subclassed model, whose layers are only connected in its code; "
            "write it as a functional model, keras.Model(inputs, outputs), and save that"
        )


def _with_input_shape(model: Any, shape: tuple[int, ...]) -> Any:
    """The model with `shape` on each input that leaves a size open and can take it."""
    import keras

    if not all(isinstance(size, int) and size > 0 for size in shape):
        raise InputError(f"--input-shape must be whole numbers above 0, such as 224,224,3; got {_shown(shape)}")
    fitting = [tensor for tensor in model.inputs if _fits(shape, tensor.shape[1:])]
    if not fitting:
        sizes = " and ".join(_shown(tensor.shape[1:]) for tensor in model.inputs)
        raise InputError(f"--input-shape {_shown(shape)} does not fit the model's input {sizes}; None may be replaced")
    if all(None not in tensor.shape[1:] for tensor in fitting):
        return model
    sizes = [shape if _fits(shape, tensor.shape[1:]) else tensor.shape[1:] for tensor in model.inputs]
    inputs = [keras.Input(s, dtype=t.dtype, name=t.name) for s, t in zip(sizes, model.inputs, strict=True)]
    try:
        # Sequential has one input and defines `input` only once it has been called.
        packed = inputs[0] if isinstance(model, keras.Sequential) else keras.tree.pack_sequence_as(model.input, inputs)
        fixed = keras.models.clone_model(model, input_tensors=packed, clone_function=_copied)
        fixed.set_weights(model.get_weights())
    # Layers check shapes in their own ways and with their own classes.
    except (ValueError, TypeError, RuntimeError) as error:
        raise InputError(f"the model can't take --input-shape {_shown(shape)}: {_one_line(error)}") from error
    if model.compiled:
        fixed.compile_from_config(model.get_compile_config())
    return fixed


def _copied(layer: Any) -> Any:
    import keras

    if type(layer) is keras.layers.Lambda:  # its function is loaded already; from_config would refuse it
        return keras.layers.Lambda(layer.function, layer._output_shape, layer.mask, layer.arguments, name=layer.name)
    return layer.__class__.from_config(layer.get_config())


def _fits(shape: tuple[int, ...], declared: tuple[int | None, ...]) -> bool:
    return len(shape) == len(declared) and all(d in (None, s) for d, s in zip(declared, shape, strict=True))


def _shown(shape: Sequence[int | None]) -> str:
    return "(" + ", ".join(str(size) for size in shape) + ")"


def _one_line(error: object) -> str:
    return " ".join(str(error).split())[:200]
