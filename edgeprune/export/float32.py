"""Mixed precision models as float32: TFLite's float16 mode stores float16, but its kernels compute in float32."""

from __future__ import annotations

from typing import Any

from edgeprune.errors import InputError


def as_float32(model: Any) -> Any:
    """The model itself when every layer computes in float32, else a float32 copy with the same weights.

    Raises:
        InputError: a layer was quantized inside Keras (`model.quantize`), or can't be copied.
    """
    layers = list(_layers(model))
    for layer in layers:
        if getattr(layer.dtype_policy, "quantization_mode", None):
            raise InputError(
                f'layer "{layer.name}" is already quantized ({layer.dtype_policy.name}); '
                "give the float model: edgeprune quantizes while converting"
            )
    if all(layer.compute_dtype in ("float32", None) or not _computes_float(layer) for layer in layers):
        return model
    import keras

    try:
        copy = keras.models.clone_model(model, clone_function=_float32_layer, recursive=True)
    except (ValueError, TypeError) as error:
        raise InputError(
            f'model "{model.name}" computes in {model.compute_dtype} and a layer of it can\'t be rebuilt in float32: '
            f"{_one_line(error)}; rebuild it with the float32 policy and load the weights"
        ) from error
    copy.set_weights([weight.astype("float32") if _is_float(weight) else weight for weight in model.get_weights()])
    return copy


def _layers(model: Any) -> Any:
    """Every layer below `model`, nested and wrapped ones too."""
    return (layer for layer in model._flatten_layers(include_self=False))


def _computes_float(layer: Any) -> bool:
    return "float" in str(layer.compute_dtype)


def _is_float(weight: Any) -> bool:
    # bfloat16 is an extension type that numpy does not count as floating
    return weight.dtype.kind == "f" or weight.dtype.name == "bfloat16"


def _float32_layer(layer: Any) -> Any:
    import keras

    if type(layer) is keras.layers.Lambda:  # its function is loaded already; from_config would refuse it
        options = {"name": layer.name, "dtype": "float32"}
        return keras.layers.Lambda(layer.function, layer._output_shape, layer.mask, layer.arguments, **options)
    return layer.__class__.from_config(_float32_config(layer.get_config()))


def _float32_config(value: Any) -> Any:
    """A copy of a layer's config with each dtype policy in it (its own and its inner layers') set to float32."""
    if isinstance(value, dict):
        if str(value.get("class_name", "")).endswith("DTypePolicy"):
            return "float32"
        return {
            key: "float32" if key == "dtype" and _names_low_precision(part) else _float32_config(part)
            for key, part in value.items()
        }
    if isinstance(value, (list, tuple)):
        return type(value)(_float32_config(part) for part in value)
    return value


def _names_low_precision(value: Any) -> bool:
    return isinstance(value, str) and value in ("float16", "bfloat16", "float64", "mixed_float16", "mixed_bfloat16")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
