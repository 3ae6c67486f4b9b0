"""Predictions from files of one operation, by hand, and from sparse nets."""

from __future__ import annotations

import dataclasses

import pytest

from edgeprune.cost.file_latency import predict_file, sparse_convolutions
from edgeprune.cost.one_op import LayerShape, one_op_model
from edgeprune.cost_rates import CostRates, Energy
from edgeprune.errors import InputError
from edgeprune.target import Target, load_target
from edgeprune.tflite.flatbuffer import parse_model
from edgeprune.tflite.model import TfliteModel
from tests.tflite.sparse_corpus import CASES

pytestmark = pytest.mark.unit

# 2, 1 and 4 MACs, 8 bytes and 16 instructions per nanosecond
RATES = CostRates(2.0, 1.0, 4.0, 8.0, 3.0, gips=16.0, error=0.1, serial=0.5)
INT8 = dataclasses.replace(RATES, conv_gmacs=8.0)
CONV = LayerShape("CONV_2D", 6, 6, 8, 16)


def target(**rates: CostRates) -> Target:
    """A Raspberry Pi 4 with these rates, on four threads."""
    board = load_target("rpi4")
    return dataclasses.replace(board, cost={**dict.fromkeys(board.cost, RATES), **rates})


def read(layer: LayerShape, precision: str = "none") -> TfliteModel:
    return parse_model(one_op_model(layer, precision), "layer.tflite")  # type: ignore[arg-type]


def conv_us(rate: float, width: int) -> float:
    """36 positions, 8 inputs, 16 outputs: start, products and bytes."""
    return 3.0 + 36 * 8 * 16 / rate / 1000 + width * (36 * 8 + 36 * 16 + 8 * 16) / 8 / 1000


def test_a_convolution_by_hand() -> None:
    found = predict_file(read(CONV), target())
    assert found.ms * 1000 == pytest.approx(conv_us(2.0, 4))
    assert (found.low_ms, found.high_ms) == pytest.approx((0.9 * found.ms, 1.1 * found.ms))
    assert [(op.name, op.mode, op.sparse, op.macs) for op in found.by_op] == [("CONV_2D", "none", False, 36 * 8 * 16)]
    # 16 instructions per nanosecond, 2 MACs per nanosecond
    assert found.instructions == pytest.approx(36 * 8 * 16 * 8)


@pytest.mark.parametrize(("precision", "rate", "width"), [("float16", 2.0, 4), ("int8", 8.0, 1)])
def test_the_files_own_precision_counts(precision: str, rate: float, width: int) -> None:
    found = predict_file(read(CONV, precision), target(int8=INT8))
    assert found.ms * 1000 == pytest.approx(conv_us(rate, width))
    assert found.by_op[-1].mode == ("int8" if precision == "int8" else "none")


def test_dynamic_range_has_small_kernels_and_float_activations() -> None:
    found = predict_file(read(CONV, "dynamic"), target(dynamic=INT8))
    assert found.by_op[0].mode == "dynamic"
    assert found.ms * 1000 == pytest.approx(3 + 4608 / 8 / 1000 + (4 * (288 + 576) + 128) / 8 / 1000)


def test_one_position_runs_a_dense_layers_kernel() -> None:
    """The head of MobileNetV1 is a 1x1 convolution of one position."""
    layer = dataclasses.replace(CONV, height=1, width=1)
    expected = 3 + 128 / 4 / 1000 + 4 * (8 + 16 + 128) / 8 / 1000
    assert predict_file(read(layer), target()).ms * 1000 == pytest.approx(expected)
    dense = LayerShape("FULLY_CONNECTED", 1, 1, 8, 16)
    assert predict_file(read(dense), target()).ms * 1000 == pytest.approx(expected)


def test_a_depthwise_convolution_by_hand() -> None:
    layer = LayerShape("DEPTHWISE_CONV_2D", 6, 6, 12, 12, (3, 3))
    rates = dataclasses.replace(RATES, depthwise_columns=8.0, depthwise_start=2.0, depthwise_tap=5.0)
    # 12 channels are two tiles of 8; per position 9 + 2 weights of each, and 9 x 5 more
    expected = 3 + 36 * (16 * 11 + 45) / 1000 + 4 * (2 * 36 * 12 + 9 * 12) / 8 / 1000
    assert predict_file(read(layer), target(none=rates)).ms * 1000 == pytest.approx(expected)


def test_tiles_of_a_convolution_by_hand() -> None:
    """36 positions in rows of 8 are 40; 16 channels fit; 8 inputs in steps of 16 are 16, 1.5 + 2 more to start."""
    rates = dataclasses.replace(
        RATES, conv_rows=8.0, conv_columns=16.0, conv_depth=16.0, conv_start=1.5, conv_tap=2.0, conv_input=3.0
    )
    products = 40 * 16 * (16 + 1.5 + 2) + 3 * 36 * 8
    expected = 3 + products / 2 / 1000 + 4 * (36 * 8 + 36 * 16 + 8 * 16) / 8 / 1000
    assert predict_file(read(CONV), target(none=rates)).ms * 1000 == pytest.approx(expected)


def test_an_activation_costs_more_than_its_bytes() -> None:
    """LOGISTIC: 4.55 instructions per value read and written, at 16 per nanosecond."""
    layer = LayerShape("LOGISTIC", 6, 6, 8, 8)
    expected = 3 + 2 * 288 * 4.55 / 16 / 1000 + 4 * 2 * 288 / 8 / 1000
    assert predict_file(read(layer), target()).ms * 1000 == pytest.approx(expected)


def test_threads_follow_amdahls_law() -> None:
    """Half of the time is serial: 1 thread takes 1, two 0.75, four 0.625."""
    four = predict_file(read(CONV), target())
    assert four.threads == 4
    for threads, share in ((1, 1.0), (2, 0.75), (4, 0.625)):
        found = predict_file(read(CONV), target(), threads=threads)
        assert found.ms == pytest.approx(four.ms * share / 0.625)
        assert found.instructions == four.instructions


@pytest.mark.parametrize("threads", [0, 5])
def test_threads_that_the_board_does_not_have(threads: int) -> None:
    with pytest.raises(InputError, match=f"from 1 to 4.*received {threads}"):
        predict_file(read(CONV), target(), threads=threads)


def test_a_lone_convolution_is_not_sparse() -> None:
    assert sparse_convolutions(read(CONV), load_target("rpi4")) == frozenset()


def sparse_and_dense(name: str) -> tuple[TfliteModel, TfliteModel]:
    return parse_model(CASES[name](True), "sparse.tflite"), parse_model(CASES[name](False), "dense.tflite")


def test_sparse_kernels_cost_their_nonzero_weights() -> None:
    """Of 80 % zeros a fifth of the multiply-accumulates are left, each at the sparse rate."""
    rates = dataclasses.replace(RATES, sparse_ratio=0.5)
    sparse, dense = sparse_and_dense("zeros_80")
    found = [op for op in predict_file(sparse, target(none=rates)).by_op if op.sparse]
    same = [op for op in predict_file(dense, target(none=rates)).by_op if op.name == "CONV_2D"]
    assert found
    assert sum(op.macs for op in found) < 0.3 * sum(op.macs for op in same)
    assert not any(op.sparse for op in predict_file(dense, target(none=rates)).by_op)


@pytest.mark.parametrize("name", ["rpi3", "host"])
def test_boards_that_gain_nothing_are_promised_nothing(name: str) -> None:
    """Zeros are costed like other weights: the file with DENSIFY operations takes as long as the one without."""
    sparse, dense = (predict_file(model, load_target(name)) for model in sparse_and_dense("zeros_80"))
    assert not any(op.sparse for op in sparse.by_op)
    assert sparse.ms == pytest.approx(dense.ms)


def test_a_file_below_two_thirds_runs_dense() -> None:
    sparse, dense = (predict_file(model, load_target("rpi4")) for model in sparse_and_dense("zeros_60"))
    assert sparse.ms == pytest.approx(dense.ms)


def test_energy_by_hand() -> None:
    """Multiply-adds at 30 pJ, int8 ones at 20, bytes at 100."""
    energy = Energy(30.0, 20.0, 100.0, "test")
    for precision, pj, width in (("none", 30, 4), ("int8", 20, 1)):
        found = predict_file(read(CONV, precision), dataclasses.replace(target(), energy=energy))
        moved = width * (36 * 8 + 36 * 16 + 8 * 16)
        assert found.energy_mj == pytest.approx((36 * 8 * 16 * pj + moved * 100) * 1e-9)
    assert predict_file(read(CONV), dataclasses.replace(target(), energy=None)).energy_mj is None
