"""One spelling for the many ways Keras takes a loss."""

from __future__ import annotations

from typing import Any

_ALIASES = {
    "bce": "binarycrossentropy",
    "ce": "crossentropy",
    "kld": "kldivergence",
    "mae": "meanabsoluteerror",
    "mape": "meanabsolutepercentageerror",
    "mse": "meansquarederror",
    "msle": "meansquaredlogarithmicerror",
}


def loss_key(loss: Any) -> str:
    """The loss's name in lower case without underscores: "categoricalcrossentropy" for the Keras name in any
    spelling, the alias, the function, the object, or its serialized form; "" for None."""
    if loss is None:
        return ""
    if isinstance(loss, dict):
        name = str(loss.get("config") if loss.get("class_name") == "function" else loss.get("class_name"))
    elif isinstance(loss, str):
        name = loss
    else:
        # A LossFunctionWrapper carries its function as `fn`; its subclasses are known by their class.
        wrapped = loss.fn if type(loss).__name__ == "LossFunctionWrapper" else loss
        name = getattr(wrapped, "__name__", None) or type(wrapped).__name__
    plain = name.lower().replace("_", "")
    return _ALIASES.get(plain, plain)
