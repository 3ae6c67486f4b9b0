"""Which operations of a file XNNPACK takes, and how that cuts the graph into partitions.

Source: tensorflow/lite/delegates/xnnpack/xnnpack_delegate.cc (PrepareOpsToDelegate, VisitNode) and
tensorflow/lite/graph_info.cc (PartitionGraphIntoIndependentNodeSubsets).
"""

from __future__ import annotations

from dataclasses import dataclass

from ai_edge_litert import schema_py_generated as schema

from edgeprune.tflite.model import UNPACKING_OPS, TfliteModel, dtype_name
from edgeprune.tflite.sparse_inference.options import options_taken
from edgeprune.tflite.sparse_inference.rules import RuntimeRules

_UNARY = (
    "ABS", "CEIL", "COS", "DEQUANTIZE", "ELU", "EXP", "FLOOR", "GELU", "HARD_SWISH", "LEAKY_RELU", "LOG", "LOGISTIC",
    "NEG", "QUANTIZE", "RELU", "RELU6", "RELU_N1_TO_1", "ROUND", "RSQRT", "SIN", "SQRT", "SQUARE", "TANH",
)  # fmt: skip
_BINARY = ("ADD", "DIV", "MAXIMUM", "MINIMUM", "MUL", "PRELU", "SQUARED_DIFFERENCE", "SUB")
_OTHERS = (
    "AVERAGE_POOL_2D", "BATCH_MATMUL", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D", "DEPTH_TO_SPACE",
    "FULLY_CONNECTED", "MAX_POOL_2D", "MEAN", "PAD", "REDUCE_MAX", "REDUCE_MIN", "RESHAPE", "RESIZE_BILINEAR", "SLICE",
    "SOFTMAX", "SPACE_TO_DEPTH", "SPLIT", "STRIDED_SLICE", "SUM", "TRANSPOSE", "TRANSPOSE_CONV",
)  # fmt: skip
UNARY_OPS = frozenset(_UNARY) - {"DEQUANTIZE", "QUANTIZE"}
_TAKEN = frozenset((*_UNARY, *_BINARY, *_OTHERS))
_TYPES = ("float32", "int8", "uint8")
# A block-sparse FULLY_CONNECTED has its own version and its own kernel in TFLite.
_BLOCK_SPARSE_VERSION = 8
_FUSED = (
    schema.ActivationFunctionType.NONE,
    schema.ActivationFunctionType.RELU,
    schema.ActivationFunctionType.RELU6,
    schema.ActivationFunctionType.RELU_N1_TO_1,
)
# Operands beside the first that must be constants, because they become parameters of the node.
_PARAMETERS = {
    "CONV_2D": (1,),
    "DEPTHWISE_CONV_2D": (1,),
    "MEAN": (1,),
    "SUM": (1,),
    "REDUCE_MAX": (1,),
    "REDUCE_MIN": (1,),
    "PAD": (1,),
    "RESIZE_BILINEAR": (1,),
    "SLICE": (1, 2),
    "STRIDED_SLICE": (1, 2, 3),
    "TRANSPOSE": (1,),
}


@dataclass(frozen=True)
class Partition:
    """Operations that XNNPACK runs as one graph, by position in the main graph; unpacking ones are left out.

    hinted: a weight is stored sparsely, so XNNPACK considers sparse kernels.
    """

    ops: tuple[int, ...]
    hinted: bool


def partitions(model: TfliteModel, rules: RuntimeRules) -> tuple[Partition, ...]:
    """The partitions of the main graph, in the order they run."""
    sparse = _sparse_weights(model)
    found = []
    for ops in _delegated_sets(model, rules):
        compute = tuple(op for op in ops if not unpacks_constant(model, op))
        hinted = any(int(tensor) in sparse for op in ops for tensor in model.main.operators[op].inputs)
        if compute:
            found.append(Partition(compute, hinted))
    return tuple(found)


def unpacks_constant(model: TfliteModel, op: int) -> bool:
    """Whether an operation only turns a stored weight into its usable form, once, when the model loads."""
    operator = model.main.operators[op]
    if model.op_names[op] not in UNPACKING_OPS or not len(operator.outputs) or operator.outputs[0] < 0:
        return False
    return model.stored_weight(int(operator.outputs[0])) is not None


def is_delegated(model: TfliteModel, op: int, rules: RuntimeRules) -> bool:
    """Whether XNNPACK takes an operation."""
    operator, name = model.main.operators[op], model.op_names[op]
    if unpacks_constant(model, op):
        return True
    if (
        name not in _TAKEN - rules.not_taken
        or model.is_custom(operator)
        or not len(operator.inputs)
        or not len(operator.outputs)
    ):
        return False
    if name == "FULLY_CONNECTED" and model.op_code(operator).version == _BLOCK_SPARSE_VERSION:
        return False
    if getattr(operator.builtinOptions, "fusedActivationFunction", schema.ActivationFunctionType.NONE) not in _FUSED:
        return False
    places = _PARAMETERS.get(name, ())
    if len(operator.inputs) <= max(places, default=0):
        return False
    if any(operator.inputs[at] < 0 or model.stored_weight(int(operator.inputs[at])) is None for at in places):
        return False
    if not options_taken(model, operator, name):
        return False
    at = {"SPLIT": 1, "TRANSPOSE_CONV": 2}.get(name, 0)
    data = int(operator.inputs[at]) if at < len(operator.inputs) else -1
    return all(
        tensor >= 0 and dtype_name(model.main.tensors[tensor]) in _TYPES for tensor in (data, int(operator.outputs[0]))
    )


def _sparse_weights(model: TfliteModel) -> set[int]:
    """Tensors that are unpacked from a sparse encoding."""
    found: set[int] = set()
    for op, (operator, name) in enumerate(zip(model.main.operators, model.op_names, strict=True)):
        if name not in UNPACKING_OPS or not unpacks_constant(model, op):
            continue
        source = int(operator.inputs[0])
        if source in found or (name == "DENSIFY" and model.main.tensors[source].sparsity is not None):
            found.add(int(operator.outputs[0]))
    return found


def _delegated_sets(model: TfliteModel, rules: RuntimeRules) -> list[list[int]]:
    """Delegated operations grouped as TFLite does: each set takes all that is ready and of its kind, then the next."""
    operators = model.main.operators
    kinds = [is_delegated(model, op, rules) for op in range(len(operators))]
    unready = [{int(tensor) for tensor in operator.inputs if int(tensor) in model.producers} for operator in operators]
    ready = {
        kind: [op for op, kind_of in enumerate(kinds) if kind_of == kind and not unready[op]] for kind in (True, False)
    }
    kind = bool(ready[True]) and (not ready[False] or min(ready[True]) < min(ready[False]))
    found: list[list[int]] = []
    while ready[kind]:
        taken = []
        while ready[kind]:
            op = ready[kind].pop()
            taken.append(op)
            for tensor in map(int, operators[op].outputs):
                for reader in model.consumers.get(tensor, ()):
                    if tensor in unready[reader]:
                        unready[reader].remove(tensor)
                        if not unready[reader]:
                            ready[kinds[reader]].append(reader)
        if kind:
            found.append(sorted(taken))
        kind = not kind
    return found
