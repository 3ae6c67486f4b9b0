"""A dense model whose normalizations over channels take their statistics over the kept channels only."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from edgeprune.graph.trace import Trace

OVER_CHANNELS = (
    layers.LayerNormalization,
    layers.RMSNormalization,
    layers.UnitNormalization,
    layers.GroupNormalization,
)


class KeptStatistics(layers.Layer):
    """Normalizes what is kept as `inner` would, written out from the papers' formulas; removed channels become 0.

    masks: axis -> (length,) bool.
    """

    def __init__(self, inner: Any, masks: dict[int, np.ndarray]) -> None:
        super().__init__(name=f"{inner.name}_kept")
        self.inner, self.masks = inner, masks

    def compute_output_shape(self, shape: Any) -> Any:
        return shape

    def call(self, x: Any) -> Any:
        kept = {axis % len(x.shape): np.flatnonzero(mask) for axis, mask in self.masks.items()}
        for axis, places in kept.items():
            x = ops.take(x, places, axis=axis)
        x = self.group(x) if isinstance(self.inner, layers.GroupNormalization) else self.over_axes(x)
        for axis, places in kept.items():
            length = len(next(mask for key, mask in self.masks.items() if key % len(x.shape) == axis))
            back = np.full(length, len(places))  # a removed channel takes the row of zeros behind the last one
            back[places] = np.arange(len(places))
            x = ops.take(ops.concatenate([x, ops.zeros_like(ops.take(x, [0], axis=axis))], axis=axis), back, axis=axis)
        return x

    def vector(self, name: str, axes: list[int], rank: int) -> Any:
        """A weight cut to the kept channels and laid on its axes; None when the layer has none of that name."""
        variable = getattr(self.inner, name, None)
        if variable is None or isinstance(variable, bool):
            return None
        value = ops.convert_to_tensor(variable)
        for place, axis in enumerate(axes):
            for key, mask in self.masks.items():
                if key % rank == axis:
                    value = ops.take(value, np.flatnonzero(mask), axis=place)
        shape = [1] * rank
        for place, axis in enumerate(axes):
            shape[axis] = value.shape[place]
        return ops.reshape(value, shape)

    def over_axes(self, x: Any) -> Any:
        rank = len(x.shape)
        listed = [self.inner.axis] if isinstance(self.inner.axis, int) else list(self.inner.axis)
        axes = sorted(axis % rank for axis in listed)
        if isinstance(self.inner, layers.UnitNormalization):
            return x / ops.sqrt(ops.maximum(ops.sum(x * x, axis=axes, keepdims=True), 1e-12))
        if isinstance(self.inner, layers.RMSNormalization):
            x = x / ops.sqrt(ops.mean(x * x, axis=axes, keepdims=True) + self.inner.epsilon)
            return x * self.vector("scale", axes, rank)
        mean = ops.mean(x, axis=axes, keepdims=True)
        variance = ops.mean((x - mean) ** 2, axis=axes, keepdims=True)
        return self.scaled((x - mean) / ops.sqrt(variance + self.inner.epsilon), axes)

    def scaled(self, x: Any, axes: list[int]) -> Any:
        gamma, beta = (self.vector(name, axes, len(x.shape)) for name in ("gamma", "beta"))
        x = x if gamma is None else x * gamma
        return x if beta is None else x + beta

    def group(self, x: Any) -> Any:
        (mask,) = self.masks.values()
        left = int(mask.reshape(self.inner.groups, -1).any(axis=1).sum())
        shape = ops.shape(x)
        grouped = ops.reshape(x, (shape[0], -1, left, x.shape[-1] // left))
        mean = ops.mean(grouped, axis=(1, 3), keepdims=True)
        variance = ops.mean((grouped - mean) ** 2, axis=(1, 3), keepdims=True)
        x = ops.reshape((grouped - mean) / ops.sqrt(variance + self.inner.epsilon), shape)
        return self.scaled(x, [len(x.shape) - 1])


def with_kept_statistics(model: Any, trace: Trace, keep_ids: np.ndarray) -> Any:
    """The model itself, or a copy around the same layers with its normalizations over channels replaced."""
    masks: dict[int, dict[int, np.ndarray]] = {}
    for (operation, name), ids in trace.context.layer_ids.items():
        if name != "groups":
            axis = -1 if name == "in" else int(name) if name.lstrip("-").isdigit() else None
            masks.setdefault(operation, {})[axis] = keep_ids[ids]
    if not any(isinstance(layer, OVER_CHANNELS) for layer in model._flatten_layers()):
        return model

    def replaced(layer: Any) -> Any:
        if isinstance(layer, OVER_CHANNELS) and id(layer) in masks:
            return KeptStatistics(layer, masks[id(layer)])
        return layer

    return keras.models.clone_model(model, clone_function=replaced, recursive=True)
