"""From what ran to operations: by the runtime's function names, and by the model's order where those leave it open."""

from __future__ import annotations

import numpy as np
import pytest

from edgeprune.device.counts import Segment
from edgeprune.device.elf import Symbols
from edgeprune.device.kernels import HOOKS, attribute, builtin_operation

pytestmark = pytest.mark.unit

BASE = 0x7000_0000
RUN = "xnn_run_operator_with_index"
NAMES = (
    RUN,
    "xnn_compute_gemm",
    "xnn_compute_spmm",
    "xnn_compute_dwconv_unipass",
    "xnn_compute_elementwise_binary_1d",
    "xnn_f32_gemm_minmax_ukernel_4x8__asm_aarch64_neonfma",
    "xnn_f32_spmm_minmax_ukernel_32x1__neonfma",
    "xnn_f32_dwconv_minmax_ukernel_9p8c__neonfma",
    "xnn_f32_vmul_minmax_ukernel__neon_u8",
    "_ZN6tflite3ops7builtin11activations11SoftmaxEvalILNS2_10KernelTypeE1EEE12TfLiteStatusP13TfLiteContextP10TfLiteNode",
    "xnn_new_ukernel_of_tomorrow",
)
# Functions of 0x100 bytes, one after the other
SYMBOLS = Symbols(np.arange(len(NAMES), dtype=np.uint64) * 0x100, np.full(len(NAMES), 0x100, np.uint64), NAMES)
OUTSIDE = 0x1234


def address(name: str) -> int:
    return BASE + 0x100 * NAMES.index(name) + 0x10


def segment(hook: str | None, **ran: int) -> Segment:
    """A segment begun by `hook`; `ran` are instructions by the start of a function's name."""
    found = {
        OUTSIDE if start == "outside" else address(next(name for name in NAMES if name.startswith(start))): count
        for start, count in ran.items()
    }
    return Segment(
        0 if hook is None else address(hook) - 0x10,
        np.array(list(found), np.uint64),
        np.array(list(found.values()), np.uint64),
    )


GEMM = {"xnn_compute_gemm": 5, "xnn_f32_gemm": 90, "outside": 5}


def test_each_segment_goes_to_one_operation_with_all_it_ran() -> None:
    region = (
        segment(None, outside=11),
        segment(RUN, **GEMM),
        segment(RUN, xnn_compute_dwconv=1, xnn_f32_dwconv=19),
        segment(RUN, **{RUN: 3}),
        segment(RUN, xnn_compute_elementwise=2, xnn_f32_vmul=8),
        segment(NAMES[9], outside=7),
    )
    found = attribute(region, SYMBOLS, BASE, ["CONV_2D", "DEPTHWISE_CONV_2D", "MUL", "SOFTMAX"])
    assert found.by_op == {"CONV_2D": 100, "DEPTHWISE_CONV_2D": 20, "other": 14, "MUL": 10, "SOFTMAX": 7}
    assert found.total == 151 == sum(found.by_op.values())
    assert found.by_kernel == {NAMES[5]: 90, NAMES[7]: 19, NAMES[8]: 8}


def test_the_order_of_the_model_tells_convolutions_from_dense_layers() -> None:
    region = (segment(RUN, xnn_compute_spmm=1, xnn_f32_spmm=9), segment(RUN, **GEMM), segment(RUN, **GEMM))
    operations = ["CONV_2D", "MEAN", "FULLY_CONNECTED", "RELU", "CONV_2D"]
    assert attribute(region, SYMBOLS, BASE, operations).by_op == {"CONV_2D": 110, "FULLY_CONNECTED": 100}
    # One operation less in the model than ran: nothing is guessed.
    unknown = {"CONV_2D or FULLY_CONNECTED": 200, "CONV_2D": 10}
    assert attribute(region, SYMBOLS, BASE, operations[:-1]).by_op == unknown
    assert attribute(region, SYMBOLS, BASE, []).by_op == unknown


def test_an_unknown_kernel_keeps_its_own_name() -> None:
    found = attribute((segment(RUN, xnn_new=4),), SYMBOLS, BASE, [])
    assert found.by_op == {"xnn_new_ukernel_of_tomorrow": 4}


def test_a_library_without_names_leaves_only_the_sum() -> None:
    nothing = Symbols(np.zeros(0, np.uint64), np.zeros(0, np.uint64), ())
    assert attribute((segment(None, outside=5),), nothing, 0, []).total == 5


@pytest.mark.parametrize(
    ("function", "operation"),
    [
        (
            "_ZN6tflite3ops7builtin4conv4EvalILNS2_10KernelTypeE2EEE12TfLiteStatusP13TfLiteContextP10TfLiteNode",
            "CONV_2D",
        ),
        ("_ZN6tflite3ops7builtin15fully_connected4EvalEP13TfLiteContextP10TfLiteNode", "FULLY_CONNECTED"),
        ("_ZN6tflite3ops7builtin7pooling11AverageEvalEP13TfLiteContextP10TfLiteNode", "AVERAGE_POOL_2D"),
        ("_ZN6tflite3ops7builtin6reduce8EvalMeanEP13TfLiteContextP10TfLiteNode", "MEAN"),
        ("_ZN6tflite3ops7builtin11activations13HardSwishEvalEP13TfLiteContextP10TfLiteNode", "HARD_SWISH"),
        ("_ZN4absl4EvalEv", "other"),
        ("", "other"),
    ],
)
def test_operations_of_tflites_own_kernels(function: str, operation: str) -> None:
    assert builtin_operation(function) == operation


def test_what_begins_a_segment() -> None:
    assert SYMBOLS.matching(HOOKS) == [0, 0x900]
    for name in ("xnn_run_operator", NAMES[9]):
        assert HOOKS.search(name)
    for name in ("xnn_run_operator_t", "tflite_Eval", "EvalP13TfLiteContextP10TfLiteNodePi"):
        assert not HOOKS.search(name)


def test_addresses_outside_every_function_are_nobodys() -> None:
    gap = Symbols(np.array([0x100, 0x300], np.uint64), np.array([0x10, 0x10], np.uint64), ("a", "b"))
    places = gap.places(np.array([0x0, 0x100, 0x10F, 0x110, 0x300, 0x400, 2**64 - 4], np.uint64))
    assert places.tolist() == [-1, 0, 0, -1, 1, -1, -1]
