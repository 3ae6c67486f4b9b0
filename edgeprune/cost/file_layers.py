"""The distinct layers of a TFLite file, and the channel counts that they are measured at."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from ai_edge_litert import schema_py_generated as schema

from edgeprune.cost.file_network import mode_of
from edgeprune.cost.one_op import BINARY, OPERATIONS, UNARY, WEIGHTED, LayerShape, Precision
from edgeprune.tflite.model import TfliteModel, shape_of

_SHARES = (0.25, 0.5, 0.75, 1.0)


def layers_of(model: TfliteModel) -> dict[tuple[LayerShape, Precision], int]:
    """Layers of the main graph that can be measured alone, and how often each occurs, in order of appearance."""
    found: dict[tuple[LayerShape, Precision], int] = {}
    for position, name in enumerate(model.op_names):
        layer = _layer(model, position) if name in OPERATIONS else None
        if layer is not None:
            key = layer, cast(Precision, mode_of(model, position))
            found[key] = found.get(key, 0) + 1
    return found


def channel_grid(layers: Iterable[LayerShape], multiple: int) -> list[LayerShape]:
    """Each layer at a quarter, a half, three quarters and all of its inputs and outputs, in multiples of `multiple`.

    Few channels, such as those of an image, stay as they are.
    """
    found: dict[LayerShape, None] = {}
    for layer in layers:
        for inputs in _counts(layer.inputs, multiple):
            for outputs in _counts(layer.outputs, multiple):
                found[layer.with_channels(inputs, outputs)] = None
    return list(found)


def _counts(channels: int, multiple: int) -> list[int]:
    if channels <= multiple:
        return [channels]
    return sorted({min(channels, -(-round(channels * share) // multiple) * multiple) for share in _SHARES})


def _layer(model: TfliteModel, position: int) -> LayerShape | None:
    """The shape of one operation; None where it is not of the plain kind that can be made alone."""
    operator, name = model.main.operators[position], model.op_names[position]
    tensors, options = model.main.tensors, operator.builtinOptions
    if not len(operator.inputs) or not len(operator.outputs) or min(operator.inputs[0], operator.outputs[0]) < 0:
        return None
    size, made = (shape_of(tensors[int(tensor)]) for tensor in (operator.inputs[0], operator.outputs[0]))
    if any(length < 1 for length in (*size, *made)):
        return None
    if name == "FULLY_CONNECTED":
        return LayerShape(name, 1, 1, size[-1], made[-1]) if len(made) == 2 and size == (1, size[-1]) else None
    if len(size) != 4 or size[0] != 1:
        return None
    if name in UNARY or name == "MEAN":
        return LayerShape(name, size[1], size[2], size[3], size[3])
    if name in BINARY:
        both = [shape_of(tensors[int(tensor)]) for tensor in operator.inputs]
        return LayerShape(name, size[1], size[2], size[3], size[3]) if both == [size, size] else None
    if len(made) != 4 or not isinstance(
        options, (schema.Conv2DOptionsT, schema.DepthwiseConv2DOptionsT, schema.Pool2DOptionsT)
    ):
        return None
    return LayerShape(
        name,
        size[1],
        size[2],
        size[3],
        made[3],
        _kernel(model, operator, name, options),
        (int(options.strideH), int(options.strideW)),
        options.padding == schema.Padding.SAME,
    )


def _kernel(model: TfliteModel, operator: Any, name: str, options: Any) -> tuple[int, int]:
    if name not in WEIGHTED:
        return int(options.filterHeight), int(options.filterWidth)
    rows, columns = shape_of(model.main.tensors[int(operator.inputs[1])])[1:3]
    return rows, columns
