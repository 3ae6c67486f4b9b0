"""Reading Keras 2 files into tf_keras models without running anything they hold."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

from edgeprune.errors import InputError
from edgeprune.interop.keras2_files import METADATA, UNREADABLE, is_keras2_folder, keras_version, read_config
from edgeprune.interop.packages import WRAPPERS, import_tf_keras, wrapper_classes
from edgeprune.interop.safe_config import check_safe
from edgeprune.quiet import tensorflow_warnings_muted


def read_model(path: Path) -> Any:
    """The tf_keras model in an .h5 or .keras file or a SavedModel folder, not compiled.

    Raises:
        InputError: tf_keras or TFMOT is missing, the file can't be read, or it holds what would run code.
    """
    if path.suffix == ".keras" and path.is_file() and keras_version(path).startswith("3."):
        raise InputError(f"{path} is a Keras 3 file already; use keras.models.load_model")
    tf_keras = import_tf_keras()
    config = _folder_config(path) if path.is_dir() else read_config(path)
    try:
        check_safe(config, str(path))
        wrappers = wrapper_classes() if _names_wrapper(config) else {}
    except RecursionError as error:
        raise InputError(f"{path}: its config is nested too deeply; save the model again") from error
    try:
        with tensorflow_warnings_muted(), warnings.catch_warnings(), tf_keras.utils.custom_object_scope(wrappers):
            warnings.simplefilter("ignore")
            if path.is_dir():
                return _from_folder(path, config)
            return tf_keras.models.load_model(path, compile=False, safe_mode=True)
    except MemoryError:
        raise
    # tf_keras, h5py and the layers' own from_config raise any class on a file that does not suit them.
    except Exception as error:
        raise InputError(
            f"{path} can't be read by tf_keras {tf_keras.__version__}: {' '.join(str(error).split())[:200]}; "
            "save the model again"
        ) from error


def _from_folder(path: Path, config: dict[str, Any]) -> Any:
    """Build from the config and read the weights; the SavedModel's own functions are not loaded."""
    import tf_keras

    model = tf_keras.models.model_from_json(json.dumps(config))
    status = model.load_weights(str(path / "variables" / "variables"))
    status.expect_partial().assert_existing_objects_matched()
    return model


def _folder_config(path: Path) -> Any:
    if not is_keras2_folder(path):
        raise InputError(
            f"{path} is no SavedModel folder with Keras 2 layers: it needs saved_model.pb and {METADATA}; "
            "load the model where it was made and save it with model.save('model.h5')"
        )
    from google.protobuf.message import DecodeError
    from tf_keras.protobuf.saved_metadata_pb2 import SavedMetadata

    metadata = SavedMetadata()
    try:
        metadata.ParseFromString((path / METADATA).read_bytes())
        (root,) = (node for node in metadata.nodes if node.node_path == "root")
        described = json.loads(root.metadata)
        return _without_tuples(described.get("model_config") or {"class_name": described["class_name"], "config": None})
    except (DecodeError, KeyError, *UNREADABLE) as error:
        raise InputError(f"{path}: {METADATA} can't be read ({error}); save the model again") from error


def _without_tuples(value: Any) -> Any:
    """JSON values with lists where Keras marked a tuple."""
    if isinstance(value, dict):
        if value.get("class_name") == "__tuple__":
            return [_without_tuples(item) for item in value["items"]]
        return {key: _without_tuples(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_tuples(item) for item in value]
    return value


def _names_wrapper(value: Any) -> bool:
    if isinstance(value, dict):
        return value.get("class_name") in WRAPPERS or any(_names_wrapper(inner) for inner in value.values())
    return isinstance(value, list) and any(_names_wrapper(inner) for inner in value)
