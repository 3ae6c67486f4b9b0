"""From counted segments to operations: which kernel of the runtime ran, and what TFLite calls the operation.

The runtime's wheels keep the names of their functions. XNNPACK runs each of its operators by one call of
`xnn_run_operator_with_index`, TFLite's own kernels by one call of an `Eval` function; both begin a segment. Inside an
XNNPACK segment `xnn_compute_*` (XNNPACK, src/operator-run.c) tells the kind of operator, and `*_ukernel_*` the kernel.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from edgeprune.device.counts import Region, Segment
from edgeprune.device.elf import Symbols

# Functions that begin a segment
HOOKS = re.compile(r"^xnn_run_operator(_with_index)?$|Eval.*P13TfLiteContextP10TfLiteNode$")
# What is not inside any operation: TFLite's loop over them, the way from and to Python
OTHER = "other"
# Operations that run on the same kernels; which one it was, the model tells by its order.
_WEIGHTED = ("CONV_2D", "FULLY_CONNECTED", "BATCH_MATMUL", "TRANSPOSE_CONV")
_EITHER = "CONV_2D or FULLY_CONNECTED"

# What comes after xnn_compute_, by its first match
_COMPUTES = (
    (re.compile(r"dwconv"), "DEPTHWISE_CONV_2D"),
    (re.compile(r"subconv2d"), "TRANSPOSE_CONV"),
    (re.compile(r"igemm|spmm|conv2d"), "CONV_2D"),
    (re.compile(r"gemm"), _EITHER),
    (re.compile(r"convert"), "QUANTIZE"),
    (re.compile(r"average_pooling"), "AVERAGE_POOL_2D"),
    (re.compile(r"max_pooling"), "MAX_POOL_2D"),
    (re.compile(r"reduce"), "MEAN"),
    (re.compile(r"resize_bilinear"), "RESIZE_BILINEAR"),
    (re.compile(r"transpose"), "TRANSPOSE"),
    (re.compile(r"^pad_\dd"), "PAD"),
    (re.compile(r"slice"), "SLICE"),
    (re.compile(r"softmax"), "SOFTMAX"),
)
# What comes after the data type in the kernel's name: xnn_f32_vadd_minmax_ukernel
_KERNELS = (
    (re.compile(r"_vadd"), "ADD"),
    (re.compile(r"_vmul"), "MUL"),
    (re.compile(r"_vr?sub"), "SUB"),
    (re.compile(r"_vr?div"), "DIV"),
    (re.compile(r"_vmax"), "MAXIMUM"),
    (re.compile(r"_vmin"), "MINIMUM"),
    (re.compile(r"_vr?sqrdiff"), "SQUARED_DIFFERENCE"),
    (re.compile(r"_vr?prelu"), "PRELU"),
    (re.compile(r"_vhswish"), "HARD_SWISH"),
    (re.compile(r"_vsigmoid"), "LOGISTIC"),
    (re.compile(r"_vtanh"), "TANH"),
    (re.compile(r"_velu"), "ELU"),
    (re.compile(r"_vgelu"), "GELU"),
    (re.compile(r"_vlrelu"), "LEAKY_RELU"),
    (re.compile(r"_vclamp|_vrelu"), "RELU"),
    (re.compile(r"_q[su]8_f\d\d_vcvt"), "DEQUANTIZE"),
    (re.compile(r"_vcvt"), "QUANTIZE"),
    (re.compile(r"_copy_ukernel"), "RESHAPE"),
)
_BUILTIN = re.compile(r"^_ZN6tflite3ops(?:7builtin|6custom)")
# TFLite's folders of kernels whose names are not those of their operations
_FOLDERS = {"CONV": "CONV_2D", "DEPTHWISE_CONV": "DEPTHWISE_CONV_2D", "ADD_N": "ADD_N"}
# Folders with several operations: the function tells which, SoftmaxEval or EvalMean.
_SHARED_FOLDERS = ("ACTIVATIONS", "POOLING", "REDUCE", "ELEMENTWISE", "COMPARISONS")
_FUNCTIONS = {"AVERAGE": "AVERAGE_POOL_2D", "MAX": "MAX_POOL_2D"}


@dataclass(frozen=True)
class Attribution:
    """Instructions of one invoke. by_op: per operation of TFLite and `OTHER`; sums up to `total`.

    by_kernel: per XNNPACK microkernel, only what runs in the kernel itself.
    """

    total: int
    by_op: dict[str, int]
    by_kernel: dict[str, int]


def attribute(
    region: Region,
    symbols: Symbols,
    base: int,
    operations: Sequence[str],
) -> Attribution:
    """Give each segment of a region to an operation.

    Args:
        base: guest address of the library that `symbols` are of.
        operations: the model's operations in order, as TFLite names them.
    """
    labelled: list[tuple[str, int]] = []
    kernels: Counter[str] = Counter()
    for segment in region:
        names = _names(segment, symbols, base)
        kernels.update({name: count for name, count in names.items() if "_ukernel_" in name})
        labelled.append((_label(segment.hook - base, names, symbols), segment.total))
    by_op: Counter[str] = Counter()
    for label, taken in _with_model(labelled, operations):
        by_op[label] += taken
    return Attribution(by_op.total(), dict(by_op.most_common()), dict(kernels.most_common()))


def _with_model(labelled: list[tuple[str, int]], operations: Sequence[str]) -> list[tuple[str, int]]:
    """Tell convolutions from dense layers by the model's order, which the runtime keeps; unless the numbers differ."""
    expected = [name for name in operations if name in _WEIGHTED]
    places = [place for place, (label, _) in enumerate(labelled) if label in (*_WEIGHTED, _EITHER)]
    if len(places) != len(expected):
        return labelled
    known = dict(zip(places, expected, strict=True))
    return [(known.get(place, label), taken) for place, (label, taken) in enumerate(labelled)]


def _names(segment: Segment, symbols: Symbols, base: int) -> dict[str, int]:
    """Instructions per function of the library."""
    places = symbols.places(segment.addresses - np.uint64(base))
    inside = places >= 0
    totals = np.bincount(places[inside], weights=segment.instructions[inside].astype(np.float64))
    return {symbols.names[place]: int(totals[place]) for place in np.flatnonzero(totals)}


def _label(hook: int, names: dict[str, int], symbols: Symbols) -> str:
    """The operation of a segment; `OTHER` for one that computes nothing."""
    if hook < 0:
        return OTHER
    (place,) = symbols.places(np.array([hook], np.uint64))
    hooked = symbols.names[place] if place >= 0 else ""
    if not hooked.startswith("xnn_"):
        return builtin_operation(hooked)
    computes = [name.removeprefix("xnn_compute_") for name in names if name.startswith("xnn_compute_")]
    kernels = sorted((name for name in names if "_ukernel_" in name), key=lambda name: -names[name])
    return _first(_COMPUTES, computes) or _first(_KERNELS, kernels) or next(iter(kernels), OTHER)


def builtin_operation(function: str) -> str:
    """The operation of a kernel of TFLite's own, from its mangled name.

    >>> builtin_operation("_ZN6tflite3ops7builtin4conv4EvalEP13TfLiteContextP10TfLiteNode")
    'CONV_2D'
    """
    found = _BUILTIN.match(function)
    parts = _identifiers(function[found.end() :]) if found else []
    if len(parts) < 2:
        return OTHER
    folder, name = parts[0].upper(), parts[-1]
    if folder in _SHARED_FOLDERS:
        word = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.replace("Eval", "").removesuffix("Generic")).upper()
        return _FUNCTIONS.get(word, word or folder) if folder == "POOLING" else word or folder
    return _FOLDERS.get(folder, folder)


def _identifiers(mangled: str) -> list[str]:
    """The nested names at the start of what follows a mangled prefix: "4conv4EvalIL..." -> ["conv", "Eval"]."""
    names = []
    while found := re.match(r"(\d+)", mangled):
        end = found.end() + int(found[1])
        names.append(mangled[found.end() : end])
        mangled = mangled[end:]
    return names


def _first(table: Iterable[tuple[re.Pattern[str], str]], names: Sequence[str]) -> str | None:
    return next((operation for name in names for pattern, operation in table if pattern.search(name)), None)
