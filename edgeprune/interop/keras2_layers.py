"""One Keras 2 layer becomes the Keras 3 layer of the same class, with the same settings and without weights.

A setting is dropped only where it is known to change nothing; any other that Keras 3 lacks is an error.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from edgeprune.errors import InputError
from edgeprune.interop.keras2_activations import ACTIVATION_LAYERS, HARD_SIGMOID, HARD_SIGMOID_SCALE, activation_name

_DIMENSIONS = ("1D", "2D", "3D")
_PER_DIMENSION = (
    "AveragePooling Conv ConvLSTM Cropping GlobalAveragePooling GlobalMaxPooling MaxPooling "
    "SpatialDropout UpSampling ZeroPadding"
)
_OTHERS = (
    "Activation ActivityRegularization Add AdditiveAttention AlphaDropout Attention Average BatchNormalization "
    "Bidirectional CenterCrop Concatenate Dense DepthwiseConv1D DepthwiseConv2D Dot Dropout ELU EinsumDense Embedding "
    "Flatten GRU GRUCell GaussianDropout GaussianNoise GroupNormalization LSTM LSTMCell LayerNormalization LeakyReLU "
    "Masking Maximum Minimum MultiHeadAttention Multiply Normalization PReLU Permute RNN RandomBrightness "
    "RandomContrast RandomFlip RandomRotation RandomTranslation RandomZoom ReLU RepeatVector Rescaling "
    "Reshape Resizing SeparableConv1D SeparableConv2D SimpleRNN SimpleRNNCell Softmax StackedRNNCells Subtract "
    "ThresholdedReLU TimeDistributed UnitNormalization"
)

# Classes with a translation. What is missing has no counterpart in Keras 3 or keeps its state outside its weights.
TRANSLATED = frozenset(
    {
        *_OTHERS.split(),
        *(f"{name}{dimension}" for name in _PER_DIMENSION.split() for dimension in _DIMENSIONS),
        *(f"Conv{dimension}Transpose" for dimension in _DIMENSIONS),
    }
)

_ANY = object()
# Settings that Keras 3 lacks, with the value that means nothing there.
_DROPPED = {
    "trainable": _ANY,  # set when the whole model is made
    "batch_input_shape": _ANY,  # the graph gives the shapes
    "input_length": _ANY,
    "query_shape": _ANY,
    "key_shape": _ANY,
    "value_shape": _ANY,
    "implementation": _ANY,  # two ways to compute the same recurrence
    "unroll": _ANY,
    "rng_type": _ANY,  # random layers do nothing at inference
    "kernel_initializer": _ANY,  # SeparableConv lists those of Conv beside its own
    "kernel_regularizer": None,
    "kernel_constraint": None,
    "groups": 1,
    "noise_shape": None,
    "activity_regularizer": None,
    "output_padding": None,
    "softmax_robust_masking": False,
    "renorm": False,
    "virtual_batch_size": None,
    "time_major": False,
    "sparse": False,
    "stateful": False,
}
_RENAMED = {"LeakyReLU": {"alpha": "negative_slope"}, "ThresholdedReLU": {"theta": "threshold"}}
_GATED = {"LSTM", "GRU", "LSTMCell", "GRUCell", *(f"ConvLSTM{d}" for d in _DIMENSIONS)}


def keras3_layers(layer: Any, child: Callable[[Any], Any]) -> list[Any]:
    """The Keras 3 layers that do what `layer` does, to be called one after the other; nearly always one.

    The one with the name of `layer` has its weights. An activation that is a layer becomes one behind it.

    child: gives the Keras 3 layer for a layer held by `layer`.

    Raises:
        InputError: the class or one of its settings has no counterpart.
    """
    import keras

    kind = type(layer).__name__
    if kind not in TRANSLATED or not type(layer).__module__.startswith("tf_keras."):
        raise no_translation(layer.name, kind)
    cls = keras.layers.ReLU if kind == "ThresholdedReLU" else getattr(keras.layers, kind)
    config = _config(layer, cls)
    if kind == "Bidirectional":
        if "backward_layer" in config:
            config["backward_layer"] = child(layer.backward_layer)
        config["layer"] = child(layer.layer)
    elif kind == "TimeDistributed":
        config["layer"] = child(layer.layer)
    elif kind == "RNN":
        config["cell"] = child(layer.cell)
    elif kind == "StackedRNNCells":
        config["cells"] = [child(cell) for cell in layer.cells]
    try:
        made = cls(**config)
    except (ValueError, TypeError) as error:
        raise InputError(f"{_named(layer)} can't be made in Keras 3: {' '.join(str(error).split())[:200]}") from error
    if kind == "Activation" and config["activation"] == HARD_SIGMOID:
        return [keras.layers.Rescaling(HARD_SIGMOID_SCALE, name=f"{made.name}_scale"), made]
    if _is_activation_layer(layer):
        (behind,) = keras3_layers(layer.activation, child)
        return [made, type(behind)(**{**behind.get_config(), "name": f"{made.name}_activation"})]
    return [made]


def keras3_name(name: str) -> str:
    """`name` as Keras 3 allows it: MobileNetV3 of Keras 2 has slashes in its layer names."""
    return name.replace("/", "_")


def no_translation(name: str, kind: str) -> InputError:
    """The error for a layer that can't become a Keras 3 layer."""
    if kind == "Lambda":
        why = "runs Python code, which is never executed from a model file; replace it with a Keras layer"
    elif kind.startswith("Quantize"):
        why = "belongs to quantization-aware training; give the float model, edgeprune quantizes it itself"
    else:
        why = "has no translation to Keras 3; replace it with a layer that both have, or rebuild the model in Keras 3"
    return InputError(f'layer "{name}" ({kind}) {why}')


def _config(layer: Any, cls: type) -> dict[str, Any]:
    """The constructor arguments of `cls`, a Keras 3 class, that say what `layer` does."""
    kind = type(layer).__name__
    renamed = _RENAMED.get(kind, {})
    allowed = _parameters(cls)
    config: dict[str, Any] = {}
    for key, value in layer.get_config().items():
        key = renamed.get(key, key)
        if key == "stateful" and value:
            raise InputError(
                f"{_named(layer)} keeps its state between batches, which no exported model can; set stateful=False"
            )
        if key not in allowed or key == "trainable":
            if key not in _DROPPED or (_DROPPED[key] is not _ANY and value != _DROPPED[key]):
                raise InputError(f"{_named(layer)} has {key}={value!r}, which Keras 3 does not have; rebuild the layer")
            continue
        config[key] = _value(layer, key, value)
    config = {key: value for key, value in config.items() if value is not _ANY}
    config["name"] = keras3_name(layer.name)
    config["dtype"] = _policy(layer)
    return config


def _parameters(cls: type) -> set[str]:
    """What the constructor of a Keras 3 class takes, in its own class and in those it passes keywords on to."""
    names: set[str] = set()
    for owner in cls.__mro__:
        if "__init__" in vars(owner):
            parameters = inspect.signature(vars(owner)["__init__"]).parameters
            names |= {n for n, p in parameters.items() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
            if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
                break
    return names - {"self"}


def _value(layer: Any, key: str, value: Any) -> Any:
    import keras

    if key == "activation" and _is_activation_layer(layer):
        return "linear"
    if key in ("activation", "recurrent_activation"):
        name = activation_name(getattr(layer, key), layer)
        if name == HARD_SIGMOID and key == "activation" and type(layer).__name__ in _GATED:
            raise InputError(
                f'{_named(layer)} has activation="hard_sigmoid", another function in Keras 3; use "sigmoid"'
            )
        return name
    if key.endswith("initializer") and isinstance(value, dict):
        # The weights are copied, so a foreign initializer has nothing left to say.
        return value if hasattr(keras.initializers, str(value.get("class_name"))) else _ANY
    for suffix, module in (("regularizer", keras.regularizers), ("constraint", keras.constraints)):
        if key.endswith(suffix) and isinstance(value, dict):
            kind = str(value.get("class_name"))
            if not str(value.get("module")).startswith("keras.") or not hasattr(module, kind):
                raise InputError(f"{_named(layer)} has the {key} {kind}, which Keras 3 lacks; remove it and save again")
    if key == "axis" and isinstance(value, (list, tuple)) and len(value) == 1:
        return int(value[0])
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", 1) == 0 else value


def _is_activation_layer(layer: Any) -> bool:
    kind = type(getattr(layer, "activation", None))
    ours = kind.__module__.startswith("tf_keras.") and kind.__name__ in ACTIVATION_LAYERS
    return ours and type(layer).__name__ not in (*_GATED, "SimpleRNN", "SimpleRNNCell")


def _policy(layer: Any) -> str:
    # A layer that infers its dtype has been called, so it has one by now.
    name = layer._dtype_policy.name
    return str(layer.dtype or "float32") if name == "_infer" else str(name)


def _named(layer: Any) -> str:
    return f'layer "{layer.name}" ({type(layer).__name__})'
