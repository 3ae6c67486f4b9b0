"""Weights of a Keras 2 layer, with TFMOT's wrappers resolved, in the order and meaning of the Keras 3 layer."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeprune.errors import InputError
from edgeprune.interop.keras2_activations import HARD_SIGMOID_SCALE
from edgeprune.interop.packages import WRAPPERS

# Keras orders the gates of a kernel along its last axis: i, f, c, o in an LSTM and z, r, h in a GRU. The entries say
# which of them pass through the recurrent activation.
_LSTM_GATES = (True, True, False, True)
_GRU_GATES = (True, True, False)


def is_wrapper(layer: Any) -> bool:
    """Whether `layer` is a wrapper of TFMOT around the layer that computes."""
    kind = type(layer)
    return kind.__module__ == WRAPPERS.get(kind.__name__)


def wrapped_weights(layer: Any) -> list[np.ndarray]:
    """The weights that the layer, or the layer inside a TFMOT wrapper, computes with.

    Pruned weights are multiplied by their mask, as the wrapper does at each call: what is pruned is exactly 0.0 even
    if the last training step has moved it. Clustered weights are their centroids.
    """
    if not is_wrapper(layer):
        return [variable.numpy() for variable in layer.weights]
    if type(layer).__name__ == "PruneLowMagnitude":
        masks = {id(weight): mask.numpy() for weight, mask, _ in layer.pruning_vars}
        return [_masked(variable.numpy(), masks.get(id(variable))) for variable in layer.layer.weights]
    layer.update_clustered_weights_associations()
    # The wrapper has put tensors in the places of the clustered variables, so the layer lists only the others.
    weights = [variable.numpy() for variable in layer.layer.weights]
    for position, name in sorted(layer.position_original_weights.items()):
        weights.insert(position, np.asarray(layer.get_weight_from_layer(name)))
    return weights


def copy_weights(old: Any, weights: list[np.ndarray], new: Any) -> None:
    """Set the Keras 3 layer `new`, which is built, to the `weights` of the Keras 2 layer `old`.

    Raises:
        InputError: the two layers don't hold the same weights.
    """
    weights = _scaled(old, weights)
    shapes, wanted = [w.shape for w in weights], [tuple(v.shape) for v in new.weights]
    if shapes != wanted:
        raise InputError(
            f'layer "{old.name}" ({type(old).__name__}) has weights of the shapes {shapes}, Keras 3 wants {wanted}; '
            "rebuild the layer in Keras 3"
        )
    new.set_weights(weights)
    if type(old).__name__ == "Normalization" and weights:
        new.finalize_state()


def _masked(weight: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    # A product would turn pruned negative weights into -0.0.
    return weight if mask is None else np.where(mask != 0, weight * mask, np.zeros((), weight.dtype))


def _scaled(layer: Any, weights: list[np.ndarray]) -> list[np.ndarray]:
    """`weights` with 1.2 where Keras 2's hard_sigmoid follows: it is Keras 3's hard_sigmoid of 1.2 times the input."""
    kind = type(layer).__name__
    if kind == "Bidirectional":
        half = len(weights) // 2
        return _scaled(layer.forward_layer, weights[:half]) + _scaled(layer.backward_layer, weights[half:])
    if kind == "RNN":
        return _scaled(layer.cell, weights)
    if kind == "StackedRNNCells":
        share = np.cumsum([2 + cell.use_bias for cell in layer.cells])[:-1].tolist()
        bounds = zip([0, *share], [*share, len(weights)], strict=True)
        return [w for cell, (a, b) in zip(layer.cells, bounds, strict=True) for w in _scaled(cell, weights[a:b])]
    if _is_hard(layer, "recurrent_activation"):
        gates = _GRU_GATES if kind.startswith("GRU") else _LSTM_GATES
        factors = np.where(gates, HARD_SIGMOID_SCALE, 1.0)
        return [w * np.repeat(factors, w.shape[-1] // len(gates)).astype(w.dtype) for w in weights]
    if weights and _is_hard(layer, "activation"):
        # A separable kernel is the product of its first two weights.
        first = 1 if kind.startswith("SeparableConv") else 0
        return weights[:first] + [w * w.dtype.type(HARD_SIGMOID_SCALE) for w in weights[first:]]
    return weights


def _is_hard(layer: Any, key: str) -> bool:
    import tf_keras

    return getattr(layer, key, None) is tf_keras.activations.hard_sigmoid
