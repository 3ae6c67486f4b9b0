"""Activation functions of Keras 2 by the function itself, since a name can be shared by a user's own function."""

from __future__ import annotations

from typing import Any

from edgeprune.errors import InputError

# clip(x / 5 + 0.5, 0, 1) in Keras 2 is clip(1.2 * x / 6 + 0.5, 0, 1), Keras 3's function of 1.2 * x.
HARD_SIGMOID = "hard_sigmoid"
HARD_SIGMOID_SCALE = 1.2

_KERAS = f"elu exponential gelu {HARD_SIGMOID} linear mish relu selu sigmoid softmax softplus softsign swish tanh"
_TENSORFLOW = "elu gelu leaky_relu relu relu6 selu sigmoid silu softplus softsign tanh"
_RENAMED = {"swish": "silu"}

# What an activation may be called in a file.
ACTIVATIONS = frozenset({*_KERAS.split(), *_TENSORFLOW.split()})
# Layers without weights that Keras 2 takes as the activation of another layer.
ACTIVATION_LAYERS = frozenset({"ELU", "LeakyReLU", "ReLU", "Softmax", "ThresholdedReLU"})


def activation_name(function: Any, layer: Any) -> str:
    """The Keras 3 name of a Keras 2 layer's activation function; hard_sigmoid stands for Keras 2's meaning of it.

    Raises:
        InputError: the function is not one of tf_keras or TensorFlow that Keras 3 has.
    """
    import tensorflow as tf
    import tf_keras

    for names, module in ((_KERAS, tf_keras.activations), (_TENSORFLOW, tf.nn)):
        for name in names.split():
            if getattr(module, name) is function:
                return _RENAMED.get(name, name)
    shown = getattr(function, "__name__", type(function).__name__)
    raise InputError(
        f'layer "{layer.name}" ({type(layer).__name__}) has the activation {shown}, which Keras 3 does not know; '
        "use a named activation, or an activation layer behind it"
    )
