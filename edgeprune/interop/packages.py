"""Importing tf_keras and TensorFlow Model Optimization (TFMOT) without changing what the user's process sees."""

from __future__ import annotations

import importlib
import os
from typing import Any

from edgeprune.errors import InputError
from edgeprune.quiet import silence, tensorflow_warnings_muted

_INSTALL = 'run `pip install "edgeprune[keras2]"` (tf_keras and tensorflow-model-optimization)'
_LEGACY = "TF_USE_LEGACY_KERAS"
_TFMOT = "tensorflow_model_optimization.python.core"

# The wrapper classes of TFMOT that can be stripped, and where they are defined.
WRAPPERS = {
    "PruneLowMagnitude": f"{_TFMOT}.sparsity.keras.pruning_wrapper",
    "ClusterWeights": f"{_TFMOT}.clustering.keras.cluster_wrapper",
    "ClusterWeightsRNN": f"{_TFMOT}.clustering.keras.cluster_wrapper",
    "ClusterWeightsMHA": f"{_TFMOT}.clustering.keras.cluster_wrapper",
}


def import_tf_keras() -> Any:
    """The module tf_keras.

    Raises:
        InputError: it is not installed, or does not go with the TensorFlow that is.
    """
    silence()
    return _imported("tf_keras")


def wrapper_classes() -> dict[str, type]:
    """The TFMOT wrapper classes by name, for tf_keras to read a wrapped model with.

    TFMOT sets TF_USE_LEGACY_KERAS when it is imported, which would turn `tf.keras` into Keras 2 for all code that
    runs later in this process and in its children. Here `tf.keras` is settled first and the variable put back.

    Raises:
        InputError: TFMOT or tf_keras is not installed.
    """
    import_tf_keras()
    import tensorflow as tf

    tf.keras.layers  # noqa: B018  TensorFlow chooses the Keras behind tf.keras at the first look
    before = os.environ.get(_LEGACY)
    try:
        return {name: getattr(_imported(module), name) for name, module in WRAPPERS.items()}
    finally:
        if before is None:
            os.environ.pop(_LEGACY, None)
        else:
            os.environ[_LEGACY] = before


def _imported(module: str) -> Any:
    try:
        with tensorflow_warnings_muted():
            return importlib.import_module(module)
    # A tf_keras for another TensorFlow fails while it is imported, with AttributeError as a rule.
    except (ImportError, AttributeError) as error:
        package = module.partition(".")[0]
        cause = "is not installed" if isinstance(error, ModuleNotFoundError) else f"can't be imported ({error})"
        raise InputError(f"a Keras 2 model is read with {package}, which {cause}; {_INSTALL}") from error
