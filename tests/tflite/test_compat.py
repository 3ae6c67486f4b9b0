"""Each trap on a file that holds it, and on the nearest file that doesn't."""

import numpy as np
import pytest

from edgeprune.errors import InputError
from edgeprune.tflite.compat import traps
from edgeprune.tflite.flatbuffer import parse_model
from edgeprune.tflite.op_versions import first_release, runtime_release
from tests.tflite.model_files import ModelFile, dense_network, sparse_encoding
from tests.tflite.sparse_corpus import CASES

pytestmark = pytest.mark.unit

PI4 = ("ai-edge-litert", "2.3.0", ("neon",))
OLD_PI4 = ("tflite-runtime", "2.14.0", ("neon",))
DESK = ("ai-edge-litert", "2.3.0", ("sse4.1", "avx", "avx2"))

INT8 = np.ones(8, np.int8)
FLOAT = np.ones(8, np.float32)


def found(file: ModelFile, board) -> list[tuple[str, str]]:
    return [(trap.name, trap.severity) for trap in traps(parse_model(file.pack(), "m.tflite"), *board)]


@pytest.mark.parametrize("board", [PI4, OLD_PI4, DESK])
def test_plain_models_hold_no_trap(board):
    for file in (
        dense_network(),
        dense_network(op="CONV_2D"),
        dense_network(weight="int8", version=4),
        dense_network("int8", "int8"),
        dense_network(weight="float16", unpack="DEQUANTIZE"),
        dense_network(op="CONV_2D", sparsity=sparse_encoding(4, [0, 3]), unpack="DENSIFY", data=FLOAT),
    ):
        assert found(file, board) == []


@pytest.mark.parametrize("board", [PI4, OLD_PI4, DESK])
def test_dynamic_range_and_sparse_convolution(board):
    file = dense_network(weight="int8", op="CONV_2D", sparsity=sparse_encoding(4, [0, 3]), unpack="DENSIFY", data=INT8)
    assert found(file, board) == [("dynamic-int8-sparse-convolution", "fails")]


def test_dynamic_range_and_block_sparse_dense_fails_on_arm_only():
    file = dense_network(weight="int8", sparsity=sparse_encoding(4, [1], block=4), data=np.ones(16, np.int8))
    assert found(file, PI4) == [("dynamic-int8-block-sparse-dense", "fails")]
    assert found(file, DESK) == []


def test_full_int8_and_sparse_is_slow():
    file = dense_network("int8", "int8", op="CONV_2D", sparsity=sparse_encoding(4, [0, 3]), unpack="DENSIFY", data=INT8)
    assert found(file, PI4) == [("int8-sparse", "slow")]


def test_full_int8_and_sparse_dense_layers_do_not_load():
    """tests/export/test_sparse_export.py shows that files without them do."""
    file = dense_network("int8", "int8", sparsity=sparse_encoding(4, [0, 3]), unpack="DENSIFY", data=INT8)
    assert found(file, DESK) == [("int8-sparse-dense", "fails"), ("int8-sparse", "slow")]


@pytest.mark.parametrize(
    ("version", "board", "expected"),
    [
        (12, OLD_PI4, [("newer-than-runtime", "fails")]),
        (11, OLD_PI4, [("newer-than-runtime", "fails")]),
        (10, OLD_PI4, []),
        (12, ("tflite-runtime", "2.17.0", ("neon",)), []),
        (12, PI4, []),
        (14, ("ai-edge-litert", "1.4.0", ("neon",)), [("newer-than-runtime", "fails")]),
        (12, ("ai-edge-litert", "1.4.0", ("neon",)), []),
    ],
)
def test_operations_newer_than_the_runtime(version, board, expected):
    assert found(dense_network(weight="int8", version=version), board) == expected


def test_the_reason_names_operation_and_version():
    (trap,) = traps(parse_model(dense_network(weight="int8", version=12).pack(), "m.tflite"), *OLD_PI4)
    assert "FULLY_CONNECTED v12" in trap.reason
    assert "2.17" in trap.reason
    assert "ai-edge-litert" in trap.remedy


def test_the_converters_own_note_counts_too():
    file = dense_network()
    file.note("min_runtime_version", b"2.18.0".ljust(16, b"\0"))
    assert found(file, OLD_PI4) == [("newer-than-runtime", "fails")]
    assert found(file, PI4) == []


@pytest.mark.parametrize(
    ("signature", "expected"),
    [((-1, 8), []), ((1, -1), [("unknown-input-size", "fails")]), ((-1, -1), [("unknown-input-size", "fails")])],
)
def test_unknown_sizes_behind_the_batch(signature, expected):
    file = dense_network()
    file.tensors[0].shapeSignature = np.array(signature, np.int32)
    assert found(file, PI4) == expected


def test_sparse_kernels_that_break_a_model():
    """The cases themselves were measured: sparse_corpus.py."""
    for case, name in (
        ("end_mean_conv_reshape", "pooled-convolution-head"),
        ("average_pool", "sparse-layouts"),
        ("end_mean_keep", "sparse-layouts"),
    ):
        for sparse, board, expected in (
            (True, PI4, [(name, "fails")]),
            (True, DESK, []),
            (True, OLD_PI4, []),
            (False, PI4, []),
        ):
            model = parse_model(CASES[case](sparse), "m.tflite")
            assert [(trap.name, trap.severity) for trap in traps(model, *board)] == expected, (case, board)


def test_the_trap_names_what_stops_the_rest():
    (trap,) = traps(parse_model(CASES["average_pool"](True), "m.tflite"), *PI4)
    assert "AVERAGE_POOL_2D" in trap.reason
    assert "depthwise" in trap.remedy


def test_sparse_float16_on_older_runtimes():
    model = parse_model(CASES["float16_zeros_80"](True), "m.tflite")
    for version, isa, expected in (
        ("2.1.6", ("neon",), ["float16-sparse"]),
        ("2.1.6", ("avx",), ["float16-sparse"]),
        ("2.2.0", ("neon",), []),
    ):
        assert [trap.name for trap in traps(model, "ai-edge-litert", version, isa)] == expected
    dense = parse_model(CASES["float16_zeros_80"](False), "m.tflite")
    assert traps(dense, "ai-edge-litert", "2.1.6", ("neon",)) == ()


def test_custom_and_flex_operations():
    file = dense_network()
    file.op("CUSTOM", [3], [file.tensor((1, 4))], custom="FlexErf")
    (trap,) = traps(parse_model(file.pack(), "m.tflite"), *PI4)
    assert trap.name == "custom-operations"
    assert "FlexErf" in trap.reason


def test_a_path_is_read_and_checked(tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(dense_network().pack())
    assert traps(path, *PI4) == ()
    with pytest.raises(InputError, match="does not exist"):
        traps(tmp_path / "none.tflite", *PI4)


def test_release_tables():
    assert first_release("FULLY_CONNECTED", 12) == (2, 17)
    assert first_release("FULLY_CONNECTED", 99) == (2, 21)
    assert first_release("CONV_2D", 5) is None
    assert first_release("STABLEHLO_CBRT", 1) == (2, 17)
    assert runtime_release("tflite-runtime", "2.14.0") == (2, 14)
    assert runtime_release("tflite-runtime", "2.5.0.post1") == (2, 5)
    assert runtime_release("ai-edge-litert", "1.4.0") == (2, 19)
    assert runtime_release("ai-edge-litert", "2.1.6") is None
