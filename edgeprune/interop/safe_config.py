"""Refusing a config that would run code, before tf_keras builds anything from it.

tf_keras unmarshals the bytecode of Lambda layers, imports any module that a config names, and calls any function of
TensorFlow's API that a TFOpLambda names (tf.io.gfile.rmtree is one). So a config passes only when every layer is one
that edgeprune translates and every other object comes from Keras's own tables.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from edgeprune.errors import InputError
from edgeprune.interop.keras2_activations import ACTIVATION_LAYERS, ACTIVATIONS
from edgeprune.interop.keras2_layers import TRANSLATED, no_translation
from edgeprune.interop.keras2_ops import OPS, no_op
from edgeprune.interop.packages import WRAPPERS

_CONTAINERS = {"Functional", "Model", "Sequential"}
_LAYERS = {*TRANSLATED, *WRAPPERS, *_CONTAINERS, "InputLayer", "TFOpLambda", "SlicingOpLambda"}
_LAYER_KEYS = ("layer", "backward_layer", "cell")
_LAYER_LISTS = ("layers", "cells")
_OBJECT_MODULES = {
    *(f"keras.{name}" for name in ("initializers", "regularizers", "constraints", "activations")),
    "keras.mixed_precision",
}
_VALUES = {"__tuple__", "__tensor__", "__numpy__", "__ellipsis__"}


def check_safe(config: Any, source: str) -> None:
    """Let a model's config pass, or refuse it.

    config: the parsed JSON {"class_name": ..., "config": ...} of a whole model.

    Raises:
        InputError: names the layer that would run code or has no translation.
    """
    kind = config.get("class_name") if isinstance(config, dict) else type(config).__name__
    if not isinstance(kind, str) or kind not in _CONTAINERS:
        raise InputError(
            f"{source}: {kind} is a subclassed model, whose layers are only connected in its code; "
            "write it as a functional model, keras.Model(inputs, outputs), and save that"
        )
    # How the model was compiled is not read: tf_keras drops it with compile=False.
    _check_layer({key: value for key, value in config.items() if key != "compile_config"}, source)


def _check_layer(entry: Any, source: str) -> None:
    if not isinstance(entry, dict) or not isinstance(entry.get("class_name"), str) or "config" not in entry:
        raise InputError(f"{source}: a layer in its config has no class or settings; save the model again")
    kind, config = entry["class_name"], entry["config"]
    # The first Keras 2 wrote a Sequential as the bare list of its layers.
    config = {"layers": config} if isinstance(config, list) else config
    name = config.get("name", entry.get("name", "")) if isinstance(config, dict) else None
    if not isinstance(config, dict) or not isinstance(name, str):
        raise InputError(f"{source}: the settings of a {kind} layer are no table, or lack a name; save the model again")
    if kind not in _LAYERS or _is_foreign(entry):
        raise no_translation(name, str(entry.get("registered_name") or kind) if _is_foreign(entry) else kind)
    if kind in ("TFOpLambda", "SlicingOpLambda") and config.get("function") not in OPS:
        raise no_op(name, str(config.get("function")))
    for layer in _children(config, source):
        _check_layer(layer, source)
    owned = {key: value for key, value in config.items() if key not in (*_LAYER_KEYS, *_LAYER_LISTS)}
    _check_objects([owned, {key: value for key, value in entry.items() if key != "config"}], name, kind, root=True)


def _children(config: dict[str, Any], source: str) -> Iterator[Any]:
    for key in _LAYER_KEYS:
        if config.get(key) is not None:
            yield config[key]
    for key in _LAYER_LISTS:
        layers = config.get(key, [])
        if not isinstance(layers, (list, tuple)):
            raise InputError(f"{source}: its {key} are no list; save the model again")
        yield from layers


def _is_foreign(entry: dict[str, Any]) -> bool:
    module, registered = entry.get("module"), entry.get("registered_name")
    if ">" in str(registered or entry["class_name"]):
        return True
    ours = ("keras.", "tf_keras.", WRAPPERS.get(entry["class_name"], "keras."))
    return module not in (None, "keras", "tf_keras") and not str(module).startswith(ours)


def _check_objects(value: Any, name: str, kind: str, *, root: bool = False) -> None:
    """Initializers, activations and the like: values inside a layer's settings."""
    if isinstance(value, (list, tuple)):
        for inner in value:
            _check_objects(inner, name, kind, root=root)
    elif isinstance(value, dict):
        if not root:
            _check_object(value, name, kind)
        for inner in value.values():
            _check_objects(inner, name, kind)


def _check_object(value: dict[str, Any], name: str, kind: str) -> None:
    if ("class_name" in value or "module" in value) and not _is_harmless(value):
        described, module = value.get("class_name"), value.get("module")
        described = value.get("config") if described == "function" else described
        raise InputError(
            f'layer "{name}" ({kind}) holds {described} from {module or "its file"}, which can run code or is not part '
            "of Keras; replace it with one of Keras's own and save the model again"
        )


def _is_harmless(value: dict[str, Any]) -> bool:
    kind, module = value.get("class_name"), value.get("module")
    if not isinstance(kind, str) or ">" in str(value.get("registered_name") or kind):
        return False
    if kind.startswith("__"):
        return module is None and kind in _VALUES
    # tf_keras looks a function up by name, at last among Python's own.
    if kind == "function":
        return value.get("config") in ACTIVATIONS
    if kind in _LAYERS or module == "keras.layers":
        return kind in ACTIVATION_LAYERS and module in (None, "keras.layers")
    return kind != "Lambda" and (module is None or module in _OBJECT_MODULES)
