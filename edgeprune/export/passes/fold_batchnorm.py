"""Fold BatchNormalization into the convolution or dense layer in front of it. For inference only.

norm(w * x + b) = (w s) * x + (b - mean) s + beta with s = gamma / sqrt(variance + epsilon), channel by channel
(Jacob et al. 2018, section 3.2). Zero weights stay zero.

A norm behind an activation or an addition has no such layer. The converter would write it as a product and a sum with
vectors, where sparse clusters stop; on maps it becomes the form of affine.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeprune.export.passes.affine import AFFINE_LAYERS, affine
from edgeprune.export.passes.layer_checks import is_a, is_linear, layer_refusal
from edgeprune.export.passes.layer_graph import Call, LayerGraph, remade
from edgeprune.export.passes.report import PassReport, Refusal

NAME = "fold_batchnorm"
EXACTNESS = "exact up to float32 rounding; for inference only"

_TAKES = ("Conv2D", "DepthwiseConv2D", "Dense")


def refusal(graph: LayerGraph, call: Call) -> str | None:
    """Why a BatchNormalization call stays."""
    norm = call.operation
    source = graph.producer(call.tensors[0])
    if source is None or not is_a(source, *_TAKES):
        kind = "the model's input" if source is None else type(source.operation).__name__
        return f"it follows {kind}, which has no kernel to fold it into"
    if norm.axis not in (-1, len(call.output.shape) - 1):
        return f"it normalizes axis {norm.axis}, not the channels"
    if not is_linear(source.operation):
        return f'the activation of "{source.name}" lies between them'
    if graph.only_reader(source.output) is not call:
        return f'the output of "{source.name}" is also used without it'
    return layer_refusal(graph, source) or layer_refusal(graph, call)


def run(graph: LayerGraph) -> PassReport:
    """Fold all that can be folded; the layer in front keeps its name and gets a bias."""
    changed, refusals = [], []
    behind: list[Any] = []
    for call in list(graph.calls):
        if is_a(call, *AFFINE_LAYERS) or any(read is made for read in call.tensors for made in behind):
            behind += call.outputs
        if not is_a(call, "BatchNormalization"):
            continue
        reason = refusal(graph, call)
        if reason is not None and _reads_maps(call, behind) and _may_become_affine(graph, call):
            graph.replace(call, affine(graph, call, call.tensors[0], *scale_and_shift(call.operation)))
            changed.append(call.name)
            continue
        if reason is not None:
            refusals.append(Refusal(call.name, reason))
            continue
        source = graph.producer(call.tensors[0])
        assert source is not None  # or it would have been refused
        new = remade(source.operation, use_bias=True)
        output = graph.insert(call, new, *source.tensors)
        new.set_weights(folded(source.operation, call.operation))
        graph.replace(call, output)
        changed.append(call.name)
    return PassReport(NAME, EXACTNESS, tuple(changed), tuple(refusals))


def folded(layer: Any, norm: Any) -> list[np.ndarray]:
    """[kernel, bias] of the layer with the norm in it, computed in float64.

    Kernels: Conv2D (kh, kw, c_in, c_out), DepthwiseConv2D (kh, kw, c_in, multiplier), Dense (c_in, c_out).
    """
    kernel, *bias = (np.asarray(value, np.float64) for value in layer.get_weights())
    scale, shift = scale_and_shift(norm)
    shift = shift + (bias[0] if bias else 0) * scale
    per_channel = scale.reshape(kernel.shape[-2:]) if _is_depthwise(layer) else scale
    # + 0.0 makes the -0.0 of a zero weight with a negative scale a plain zero
    return [(kernel * per_channel + 0.0).astype(np.float32), shift.astype(np.float32)]


def scale_and_shift(norm: Any) -> tuple[np.ndarray, np.ndarray]:
    """The norm in inference as scale x + shift: two (channels,) float64."""
    scale = 1 / np.sqrt(np.asarray(norm.moving_variance, np.float64) + norm.epsilon)
    if norm.gamma is not None:
        scale = scale * np.asarray(norm.gamma, np.float64)
    shift = -np.asarray(norm.moving_mean, np.float64) * scale
    return scale, shift if norm.beta is None else shift + np.asarray(norm.beta, np.float64)


def _may_become_affine(graph: LayerGraph, call: Call) -> bool:
    """Whether it normalizes channels, and is not behind layers that are called again: those keep clusters away."""
    source = graph.producer(call.tensors[0])
    if graph.is_shared(call) or (source is not None and graph.is_shared(source)):
        return False
    last = call.operation.axis in (-1, len(call.output.shape) - 1)
    return last and getattr(call.operation, "quantization_mode", None) is None


def _reads_maps(call: Call, behind: list[Any]) -> bool:
    """Whether it reads feature maps, or pooled ones, that a convolution has made."""
    source = call.tensors[0]
    return len(source.shape) == 4 and any(source is made for made in behind)


def _is_depthwise(layer: Any) -> bool:
    return hasattr(layer, "depth_multiplier")
