"""A temperature on a classifier's predictions, whether they are logits or probabilities."""

from __future__ import annotations

from typing import Any

from edgeprune.data.loss_key import loss_key

_OVER_CLASSES = ("categoricalcrossentropy", "sparsecategoricalcrossentropy")
_PER_UNIT = "binarycrossentropy"


def softened(model: Any, predictions: Any, temperature: float) -> Any:
    """The predictions that the model would make with its logits divided by `temperature`, as float32.

    Probabilities: log(p) is the logits of a softmax up to a constant that softmax ignores, log(p / (1 - p)) those of a
    sigmoid. They are clipped to Keras' epsilon, as in its losses. Predictions come back as they are when there is more
    than one output, or a loss other than a crossentropy of Keras.
    """
    import keras

    # None before the first call, and so where a compute_loss of the user's own doesn't use it
    losses = getattr(model._compile_loss, "_flat_losses", None) or []
    if len(keras.tree.flatten(predictions)) != 1 or len(losses) != 1:
        return predictions
    key = loss_key(losses[0].loss)
    if key not in (*_OVER_CLASSES, _PER_UNIT):
        return predictions
    options = getattr(losses[0].loss, "_fn_kwargs", {})

    def soften(values: Any) -> Any:
        values = keras.ops.cast(values, "float32")
        if options.get("from_logits", False):
            return values / temperature
        epsilon = keras.config.epsilon()
        p = keras.ops.clip(values, epsilon, 1.0 - epsilon)
        if key == _PER_UNIT:
            return keras.ops.sigmoid((keras.ops.log(p) - keras.ops.log1p(-p)) / temperature)
        return keras.ops.softmax(keras.ops.log(p) / temperature, axis=options.get("axis", -1))

    return keras.tree.map_structure(soften, predictions)
