"""Fold Rescaling and Normalization at the image input into the first convolution.

Together they compute a x + b per channel. The scale a goes into the kernel, which is exact, at zero-padded borders too.
The offset can't: a padded zero stands for the preprocessed value 0, not for b. So x + b / a stays as one addition in
front of the padding, which is exact everywhere; without an offset nothing stays. For inference: kernels scaled by 1/255
would train badly.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeprune.export.passes.layer_checks import is_a, layer_refusal
from edgeprune.export.passes.layer_graph import Call, LayerGraph, remade
from edgeprune.export.passes.report import PassReport, Refusal

NAME = "fold_preprocessing"
EXACTNESS = "exact up to float32 rounding, borders included"

_PREPROCESSING = ("Rescaling", "Normalization")


def refusal(graph: LayerGraph, chain: list[Call], stem: Call | None) -> str | None:
    """Why the preprocessing layers `chain`, which begin at an input, are not folded into the call behind them."""
    if not chain[0].tensors[0].dtype.startswith("float"):
        return f"the input is {chain[0].tensors[0].dtype}, and the layer turns it into floating point"
    if stem is None:
        return "its output is used more than once, or is an output of the model"
    if not is_a(stem, "Conv2D") or stem.operation.groups != 1:
        return f'it is followed by "{stem.name}" ({type(stem.operation).__name__}); it can be folded into a Conv2D'
    for call in chain:
        if is_a(call, "Normalization") and (call.operation.axis not in ((-1,), (3,)) or call.operation.invert):
            return "it does not normalize per channel"
    if any(np.size(value) not in (1, chain[0].output.shape[-1]) for call in chain for value in _affine(call)):
        return "its scale or offset is not one number, or one for each channel"
    scale, _ = _together(chain)
    if not np.all(np.isfinite(scale)) or np.any(scale == 0):
        return "its scale is zero or not finite"
    return layer_refusal(graph, stem) or next(filter(None, (layer_refusal(graph, call) for call in chain)), None)


def run(graph: LayerGraph) -> PassReport:
    """Fold the preprocessing of every image input."""
    changed, refusals = [], []
    for image in graph.inputs:
        chain, padding, stem = _chain(graph, image)
        if not chain or len(image.shape) != 4:
            continue
        reason = refusal(graph, chain, stem)
        if reason is not None:
            refusals.append(Refusal(chain[0].name, reason))
            continue
        assert stem is not None  # or it would have been refused
        _fold(graph, image, chain, padding, stem)
        changed += [call.name for call in chain]
    return PassReport(NAME, EXACTNESS, tuple(changed), tuple(refusals))


def _chain(graph: LayerGraph, image: Any) -> tuple[list[Call], Call | None, Call | None]:
    """The preprocessing calls behind an input, a ZeroPadding2D behind them, and the call behind that."""
    chain, tensor = [], image
    reader = graph.only_reader(tensor)
    while reader is not None and is_a(reader, *_PREPROCESSING):
        chain.append(reader)
        tensor = reader.output
        reader = graph.only_reader(tensor)
    if reader is not None and is_a(reader, "ZeroPadding2D"):
        return chain, reader, graph.only_reader(reader.output)
    return chain, None, reader


def _fold(graph: LayerGraph, image: Any, chain: list[Call], padding: Call | None, stem: Call) -> None:
    import keras

    scale, offset = _together(chain)
    source = image
    if np.any(offset != 0):
        constant = (offset / scale).astype(np.float32).reshape(1, 1, 1, -1)
        source = graph.insert(chain[0], keras.ops.add, image, constant)
    graph.replace(chain[-1], source)
    layer = stem.operation
    new = remade(layer)
    output = graph.insert(stem, new, padding.output if padding is not None else source)
    kernel, *bias = layer.get_weights()
    by_input_channel = np.broadcast_to(scale, (kernel.shape[2],))[:, None]
    new.set_weights([(kernel.astype(np.float64) * by_input_channel).astype(np.float32), *bias])
    new.trainable = layer.trainable
    graph.replace(stem, output)


def _together(chain: list[Call]) -> tuple[np.ndarray, np.ndarray]:
    """Scale a and offset b, float64, of all preprocessing calls one after the other: a x + b."""
    scale, offset = np.ones(1), np.zeros(1)
    for call in chain:
        own_scale, own_offset = _affine(call)
        scale, offset = scale * own_scale, offset * own_scale + own_offset
    return scale, offset


def _affine(call: Call) -> tuple[np.ndarray, np.ndarray]:
    layer = call.operation
    if is_a(call, "Rescaling"):
        return np.ravel(np.asarray(layer.scale, np.float64)), np.ravel(np.asarray(layer.offset, np.float64))
    import keras

    mean = np.ravel(np.asarray(layer.mean, np.float64))
    scale = 1 / np.maximum(np.sqrt(np.ravel(np.asarray(layer.variance, np.float64))), keras.backend.epsilon())
    return scale, -mean * scale
