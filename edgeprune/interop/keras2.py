"""Keras 2 (tf_keras) models, also those wrapped by TFMOT, become equal Keras 3 models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgeprune.errors import InputError
from edgeprune.interop.packages import import_tf_keras
from edgeprune.quiet import silence, tensorflow_warnings_muted


def from_keras2(model_or_path: Any) -> Any:
    """Make the Keras 3 model that is equal to a Keras 2 model.

    Same outputs (both models are run on random inputs and compared), same layer names (a slash becomes an
    underscore) and same trainable flags. Wrappers of `prune_low_magnitude` and `cluster_weights` are taken off, in
    nested models too; a pruned weight is exactly zero. TensorFlow functions between the layers become Keras
    operations where they have an equal one.

    Keras 2's hard_sigmoid, another function than Keras 3's, is kept equal by scaling the weights before it by 1.2, or
    by a Rescaling layer NAME_scale before an Activation layer. An activation that is a layer becomes NAME_activation.

    A compiled state is not carried over: the result has no optimizer, loss or metrics.

    Nothing in a file is executed: Lambda layers, custom objects and unknown functions are refused by name before
    anything is built, and of a SavedModel only the settings and the weights are read, not its functions.

    Args:
        model_or_path: a built functional or Sequential tf_keras model, which is not changed; or the path of an .h5
            or .keras file or of a SavedModel folder that tf_keras wrote.

    Returns:
        A functional or Sequential keras.Model, not compiled.

    Raises:
        InputError: tf_keras or TFMOT is not installed, the file can't be read, or a layer has no equal in Keras 3.
    """
    silence()
    if isinstance(model_or_path, (str, Path)):
        from edgeprune.interop.keras2_reading import read_model

        path = Path(model_or_path)
        try:
            return _converted(read_model(path))
        except InputError as error:
            message = str(error)
            raise InputError(message if message.startswith(str(path)) else f"{path}: {message}") from error
    _check_type(model_or_path)
    return _converted(model_or_path)


def _converted(model: Any) -> Any:
    from edgeprune.interop.equal_outputs import check_equal
    from edgeprune.interop.keras2_graph import rebuild

    with tensorflow_warnings_muted():
        new = rebuild(model)
        check_equal(model, new)
    return new


def _check_type(model: Any) -> None:
    import keras

    if isinstance(model, keras.Model):
        raise InputError(f'from_keras2: "{model.name}" is a Keras 3 model already; use it as it is')
    if not isinstance(model, import_tf_keras().Model):
        raise InputError(
            f"from_keras2: a tf_keras model or the path of one is needed, got {type(model).__name__}; "
            "allowed: tf_keras.Model, .h5, .keras, a SavedModel folder"
        )
