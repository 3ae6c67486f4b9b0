"""Gives every stride-2 convolution that pads symmetrically a PAD of its own, the only padding that sparse kernels take.

A stride-2 convolution on an odd size pads by 1 on all sides (2 for 5x5), which XNNPACK's sparse kernels want. The
converter writes SAME for that, even for a ZeroPadding2D in the Keras model, and XNNPACK refuses SAME whatever it
amounts to (src/subgraph.c, xnn_check_nchw_compatibility). It takes a PAD in front of a VALID convolution into the
convolution, if nothing else reads what it pads; so a PAD that the converter shares between convolutions is written once
for each.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgeprune.tflite.flatbuffer import parse_model
from edgeprune.tflite.model import TfliteModel, dtype_name
from edgeprune.tflite.pack import pack
from edgeprune.tflite.sparse_inference.predict import predict

# The oldest and the newest runtime whose sparse kernels take whole networks.
_RUNTIMES = ("1.4.0", "2.3.0")


def write_valid_padding(content: bytes) -> bytes:
    """The same model with PAD and VALID for SAME where a stride-2 layer pads symmetrically, and no PAD that two share.

    content: a TFLite file. Comes back as it is when no weight is stored sparsely, when it has no such layer, when it is
    above 2 GB, or when sparse kernels would then run in a part of the model and break it.
    """
    model = parse_model(content, "the converted model")
    if "DENSIFY" not in model.op_names or any(buffer.offset > 1 for buffer in model.tree.buffers):
        return content
    broken = _breaking_runtimes(model)
    same = [operator for operator in model.main.operators if _has_symmetric_same(model, operator)]
    shared = list(_sharing(model))
    if not same and not shared:
        return content
    for operator in same:
        height, width = (int(kernel) // 2 for kernel in model.main.tensors[operator.inputs[1]].shape[1:3])
        _pad_before(model.tree, operator, int(operator.inputs[0]), _amounts(model.tree, height, width))
        operator.builtinOptions.padding = schema.Padding.VALID
    for operator, pad in shared:
        _pad_before(model.tree, operator, *(int(tensor) for tensor in pad.inputs))
    edited = pack(model.tree)
    return edited if _breaking_runtimes(parse_model(edited, "the converted model")) <= broken else content


def _breaking_runtimes(model: TfliteModel) -> set[str]:
    return {version for version in _RUNTIMES if predict(model, "ai-edge-litert", version, ()).verdict == "broken"}


def _has_symmetric_same(model: TfliteModel, operator: Any) -> bool:
    """A float stride-2 convolution with SAME that pads each side by half its odd kernel."""
    options = operator.builtinOptions
    if not isinstance(options, (schema.Conv2DOptionsT, schema.DepthwiseConv2DOptionsT)):
        return False
    data, weight = (model.main.tensors[tensor] for tensor in operator.inputs[:2])
    if options.padding != schema.Padding.SAME or (options.strideH, options.strideW) != (2, 2):
        return False
    if (options.dilationHFactor, options.dilationWFactor) != (1, 1) or dtype_name(data) != "float32":
        return False
    sizes = zip(data.shape[1:3], weight.shape[1:3], strict=True)
    return all(size % 2 and kernel % 2 and kernel > 1 and size > 0 for size, kernel in sizes)


def _sharing(model: TfliteModel) -> Iterator[tuple[Any, Any]]:
    """(convolution, PAD that it reads) for all readers of a PAD but the first."""
    for position, name in enumerate(model.op_names):
        pad = model.main.operators[position]
        if name != "PAD":
            continue
        padded = int(pad.outputs[0])
        readers = [model.main.operators[reader] for reader in model.consumers.get(padded, ())]
        valid = [
            reader for reader in readers if getattr(reader.builtinOptions, "padding", None) == schema.Padding.VALID
        ]
        if len(valid) == len(readers) and padded not in model.main.outputs:
            yield from ((reader, pad) for reader in valid[1:] if int(reader.inputs[0]) == padded)


def _amounts(tree: Any, height: int, width: int) -> int:
    """A new tensor with the zeros on each side of height and width."""
    amounts = np.array([[0, 0], [height, height], [width, width], [0, 0]], "<i4")
    tree.buffers.append(schema.BufferT(data=amounts.reshape(-1).view(np.uint8)))
    tensors = tree.subgraphs[0].tensors
    kind = schema.TensorType.INT32
    shape = np.array(amounts.shape, np.int32)
    tensors.append(schema.TensorT(shape=shape, type=kind, buffer=len(tree.buffers) - 1, name=b"pad_amounts"))
    return len(tensors) - 1


def _pad_before(tree: Any, operator: Any, source: int, amounts: int) -> None:
    """Let an operation of the main graph read `source` through a PAD of its own; all tensors keep their indices."""
    graph = tree.subgraphs[0]
    data = graph.tensors[source]
    sides = np.asarray(tree.buffers[graph.tensors[amounts].buffer].data, np.uint8).view("<i4").reshape(-1, 2)
    shape = np.asarray(data.shape, np.int32) + sides.sum(axis=1, dtype=np.int32)
    graph.tensors.append(schema.TensorT(shape=shape, type=data.type, name=b"padded"))
    padded = len(graph.tensors) - 1
    pad = schema.OperatorT(
        opcodeIndex=_pad_code(tree),
        inputs=np.array([source, amounts], np.int32),
        outputs=np.array([padded], np.int32),
        builtinOptionsType=schema.BuiltinOptions.PadOptions,
        builtinOptions=schema.PadOptionsT(),
    )
    position = next(at for at, other in enumerate(graph.operators) if other is operator)
    graph.operators.insert(position, pad)
    operator.inputs = np.array([padded, *operator.inputs[1:]], np.int32)


def _pad_code(tree: Any) -> int:
    """The index of PAD among the file's operator codes; it is added where the file has none."""
    number = schema.BuiltinOperator.PAD
    for index, code in enumerate(tree.operatorCodes):
        if max(code.builtinCode, code.deprecatedBuiltinCode) == number:
            return index
    tree.operatorCodes.append(schema.OperatorCodeT(builtinCode=number, deprecatedBuiltinCode=number, version=1))
    return len(tree.operatorCodes) - 1
